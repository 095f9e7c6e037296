use std::net::IpAddr;

/// Whether a host, as URLs and `Host` headers write it but without its port, is this machine: `localhost`, a name under it,
/// or a loopback address. No name is looked up: what a name leads to may change between two requests.
pub fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::is_loopback_host;

    #[test]
    fn only_names_that_cannot_lead_elsewhere_are_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "lore.localhost",
            "127.0.0.1",
            "127.8.9.1",
            "[::1]",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "lore",
            "10.0.0.1",
            "0.0.0.0",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "[::]",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
