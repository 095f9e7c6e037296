//! w
/// x
pub struct ParseRequest; 
/// x
pub struct ParserPool;
/// x
pub struct PoolSettings;
/// x
pub struct WorkerCommand;
/// x
pub fn worker_main() -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
