//! The whole system over HTTP: this package holds only tests, in `tests/it`, and the scripts beside them.
