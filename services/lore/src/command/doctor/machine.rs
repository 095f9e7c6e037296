use super::check::Check;
use crate::serve::lock;
use crate::terminal::bytes;
use lore_config::Config;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Less than this on the disk of the data folder is doubtful.
const LITTLE_SPACE: u64 = 2_000_000_000;
/// Less than this is bad: writes will fail soon.
const NO_SPACE: u64 = 100_000_000;

/// The version and what it runs on.
pub fn version() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    Check::ok(
        "version",
        format!(
            "lore {} on {os} {arch} with {cores} cores",
            env!("CARGO_PKG_VERSION")
        ),
    )
}

/// Folders, their disks, and the port.
pub fn checks(config: &Config) -> Vec<Check> {
    let data_dir = &config.storage.data_dir;
    let mut checks = vec![
        writable(
            "data folder",
            data_dir,
            "choose another folder with --data-dir or LORE_DATA_DIR",
        ),
        writable(
            "models folder",
            &config.models.dir,
            "choose another folder with --models-dir or LORE_MODELS_DIR",
        ),
        space("disk of the data folder", data_dir),
        space("disk of the models folder", &config.models.dir),
    ];
    checks.push(device(config));
    checks.push(port(config));
    checks
}

/// What models compute on, and why.
fn device(config: &Config) -> Check {
    match lore_trainer::device(config).open() {
        Ok(chosen) => Check::ok("device", format!("models compute on {}", chosen.reason)),
        Err(error) => Check::bad(
            "device",
            error.to_string(),
            "set models.device = \"auto\" or \"cpu\"",
        ),
    }
}

/// A folder that does not exist yet is as good as its nearest parent that does.
fn existing(path: &Path) -> PathBuf {
    let parents = path.ancestors().find(|parent| parent.exists());
    parents.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn writable(name: &str, path: &Path, fix: &str) -> Check {
    let found = existing(path);
    match tempfile::tempfile_in(&found) {
        Ok(_) if found == path => Check::ok(name, format!("{} can be written", path.display())),
        Ok(_) => Check::ok(name, format!("{} will be made", path.display())),
        Err(error) => Check::bad(
            name,
            format!("{} cannot be written: {error}", path.display()),
            fix,
        ),
    }
}

fn space(name: &str, path: &Path) -> Check {
    let fix = "free some space, or choose a folder on another disk";
    match fs4::available_space(existing(path)) {
        Ok(free) if free < NO_SPACE => Check::bad(name, format!("{} free", bytes(free)), fix),
        Ok(free) if free < LITTLE_SPACE => {
            Check::doubtful(name, format!("{} free", bytes(free)), fix)
        }
        Ok(free) => Check::ok(name, format!("{} free", bytes(free))),
        Err(error) => Check::doubtful(
            name,
            format!("cannot tell the free space: {error}"),
            "check it with `df -h`",
        ),
    }
}

fn port(config: &Config) -> Check {
    let listen = config.server.listen;
    if let Some(url) = lock::running_server(&config.storage.data_dir) {
        return Check::ok(
            "port",
            format!("a server runs on the data folder and listens on {url}"),
        );
    }
    match TcpListener::bind(listen) {
        Ok(_) => Check::ok("port", format!("{listen} is free")),
        Err(error) => {
            let fix =
                "stop what listens there, or choose another address with --listen 127.0.0.1:0";
            Check::doubtful(
                "port",
                format!("{listen} cannot be listened on: {error}"),
                fix,
            )
        }
    }
}
