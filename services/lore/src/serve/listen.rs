use crate::exit::Failure;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Listens on `address`; port 0 lets the system choose.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| refused(address, &error))?;
    let bound = listener
        .local_addr()
        .map_err(|error| refused(address, &error))?;
    Ok((listener, bound))
}

fn refused(address: SocketAddr, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port with --listen"
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need more rights: choose another one with --listen"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: choose another one with --listen"
        }
        _ => "choose another address with --listen or LORE_LISTEN",
    };
    Failure::new(format!("cannot listen on {address}: {error}")).hint(hint)
}
