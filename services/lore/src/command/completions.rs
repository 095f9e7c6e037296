use crate::cli::Cli;
use crate::context::Context;
use crate::exit::Failure;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Which shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell, for example: lore completions bash > ~/.local/share/bash-completion/completions/lore
    pub shell: Shell,
}

/// Prints the completion script.
pub fn run(context: &Context, args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lore", &mut script);
    context.output.raw(String::from_utf8_lossy(&script))
}
