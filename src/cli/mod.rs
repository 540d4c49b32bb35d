//! The command line, one file a command.
//!
//! Exit codes: 0 fine, 1 it did not work, 2 wrong usage or settings.

mod backup;
mod check;
mod docs;
mod doctor;
mod emit;
mod request;
mod serve;
mod token;

use crate::config::{Config, Reading};
use argh::{ArgsInfo, FromArgs};
use std::io::Write;
use std::process::ExitCode;

/// The live connection of an AI chat application: an Engine.IO and Socket.IO server.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    name = "siskin",
    example = "WEBUI_SECRET_KEY=$(openssl rand -hex 32) {command_name} serve",
    example = "{command_name} check",
    example = "{command_name} token --id ann --name Ann",
    error_code(0, "All went well."),
    error_code(1, "It did not work; standard error says why."),
    error_code(
        2,
        "A command or a setting is wrong; standard error says how to write it."
    )
)]
struct Siskin {
    /// print the version
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Command {
    Serve(serve::Serve),
    Token(token::Token),
    Emit(emit::Emit),
    Check(check::Check),
    Backup(backup::Backup),
    Doctor(doctor::Doctor),
    Env(docs::Env),
    Man(docs::Man),
    Completions(docs::Completions),
    Version(docs::Version),
}

/// Why a command ended without success. The text is for standard error.
#[derive(Debug)]
enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2.
    Wrong(String),
}

type Outcome = Result<(), Failure>;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let typed: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
    let (code, text) = match run(&typed) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::Wrong(text)) => (2, text),
    };
    if !text.is_empty() {
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
    }
    ExitCode::from(code)
}

fn run(typed: &[&str]) -> Outcome {
    if let ["help", topic] = typed
        && let Some(text) = docs::help(topic)
    {
        say(text.trim_start());
        return Ok(());
    }
    let siskin = match Siskin::from_args(&["siskin"], typed) {
        Ok(siskin) => siskin,
        Err(exit) if exit.status.is_ok() => {
            say(&exit.output);
            if helps_to_start(typed) {
                say(&docs::settings_help());
            }
            return Ok(());
        }
        Err(exit) => {
            let advice = "Run `siskin --help`, or `siskin COMMAND --help`, for how to write it.";
            return Err(Failure::Wrong(format!(
                "{}\n{advice}",
                exit.output.trim_end()
            )));
        }
    };
    match siskin.command {
        _ if siskin.version => docs::version(),
        None => serve::run(),
        Some(Command::Serve(_)) => serve::run(),
        Some(Command::Token(token)) => token::run(&token),
        Some(Command::Emit(emit)) => emit::run(&emit),
        Some(Command::Check(check)) => check::run(&check),
        Some(Command::Backup(backup)) => backup::run(&backup),
        Some(Command::Doctor(doctor)) => doctor::run(&doctor),
        Some(Command::Env(env)) => docs::env(&env),
        Some(Command::Man(_)) => docs::man(),
        Some(Command::Completions(completions)) => docs::completions(&completions),
        Some(Command::Version(_)) => docs::version(),
    }
}

/// Is this the help of the program or of `serve`? The settings belong to it.
fn helps_to_start(typed: &[&str]) -> bool {
    typed
        .first()
        .is_none_or(|first| matches!(*first, "--help" | "help" | "serve"))
}

/// Writes to standard output. That nobody reads on (`siskin man | head`) is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The settings, or every mistake in them.
fn settings() -> Result<Config, Failure> {
    usable(crate::config::read_environment())
}

fn usable(reading: Reading) -> Result<Config, Failure> {
    let mistakes: Vec<String> = reading.mistakes.iter().map(ToString::to_string).collect();
    let config = reading.config;
    config.ok_or_else(|| Failure::Wrong(mistakes.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_is_told_with_the_way_to_help() {
        for typed in [
            &["no-such-command"][..],
            &["token"],
            &["emit", "--user"],
            &["check", "--no"],
            &["help", "nowhere"],
        ] {
            match run(typed) {
                Err(Failure::Wrong(text)) => assert!(text.contains("--help"), "{text}"),
                other => panic!("{typed:?}: {other:?}"),
            }
        }
    }
}
