//! The three services as three processes, with the very settings of the compose file.
