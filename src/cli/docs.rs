//! What is printed about siskin itself, all made of two tables: the settings and argh's description of the commands.
//! `siskin env`, `man`, `completions`, `version`.

use super::{Failure, Outcome, Siskin, say};
use crate::config::table::{Fallback, Row, SETTINGS};
use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, Optionality};
use argh_complete::Generator;
use std::fmt::Write;

/// print every setting as a commented file for systemd's EnvironmentFile= or `docker run --env-file`
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "env")]
pub struct Env {
    /// print a Markdown table instead
    #[argh(switch)]
    markdown: bool,
}

/// print the manual page, for `man -l -`
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "man", example = "{command_name} | man -l -")]
pub struct Man {}

/// print completions for a shell
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "completions",
    example = "{command_name} bash > /usr/share/bash-completion/completions/siskin",
    example = "{command_name} zsh > /usr/share/zsh/vendor-completions/_siskin",
    example = "{command_name} fish > /usr/share/fish/vendor_completions.d/siskin.fish"
)]
pub struct Completions {
    /// bash, zsh or fish
    #[argh(positional)]
    shell: String,
}

/// print the version
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "version")]
pub struct Version {}

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn version() -> Outcome {
    say(&format!("siskin {VERSION}\n"));
    Ok(())
}

pub fn env(env: &Env) -> Outcome {
    say(&match env.markdown {
        true => markdown(),
        false => example_file(),
    });
    Ok(())
}

pub fn man() -> Outcome {
    say(&manual());
    Ok(())
}

pub fn completions(completions: &Completions) -> Outcome {
    let info = Siskin::get_args_info();
    say(&match completions.shell.as_str() {
        "bash" => argh_complete::bash::Bash::generate("siskin", &info),
        "zsh" => argh_complete::zsh::Zsh::generate("siskin", &info),
        "fish" => argh_complete::fish::Fish::generate("siskin", &info),
        _ => return Err(Failure::Wrong("Say which shell: bash, zsh or fish.".into())),
    });
    Ok(())
}

/// What a setting is when it is not given, in words.
fn fallback(row: &Row) -> &'static str {
    match row.default {
        Fallback::Value(text) | Fallback::Computed(text) => text,
        Fallback::Unset => "nothing",
        Fallback::Required => "none, it must be set",
    }
}

/// The other names of a setting: older ones and the one that names a file.
fn other_names(row: &Row) -> Vec<String> {
    let file = row.secret.then(|| format!("{}_FILE", row.name));
    row.also
        .iter()
        .map(ToString::to_string)
        .chain(file)
        .collect()
}

/// The part of `siskin --help` that argh can't know.
pub fn settings_help() -> String {
    let mut out = String::from("\nSettings are environment variables:\n");
    // Writing to a String can't fail, here and below.
    for row in SETTINGS {
        let _ = writeln!(out, "  {}", row.name);
        for line in wrap(row.about, 72) {
            let _ = writeln!(out, "      {line}");
        }
        let _ = writeln!(out, "      Default: {}", fallback(row));
    }
    out.push_str("\nA secret NAME can stand in a file that NAME_FILE names, or in a systemd credential called NAME.\n");
    out.push_str("`siskin check` prints what counts; `siskin env` prints a file to start from.\n");
    out.push_str("`siskin help TOPIC` tells about one command, or about the settings with this word in their names.\n");
    out
}

/// A settings file with everything commented out.
fn example_file() -> String {
    let mut out = String::from(
        "# Settings of siskin. Take the # off a line to change it; `siskin check` tells what counts.\n\
         # Secrets stand better in files of their own that root alone reads: systemd hands over those in\n\
         # /etc/siskin/credentials that siskin.service names, and NAME_FILE names any other.\n",
    );
    for row in SETTINGS {
        example_of(&mut out, row);
    }
    out
}

/// What that file says of one setting.
fn example_of(out: &mut String, row: &Row) {
    out.push('\n');
    for line in wrap(row.about, 98) {
        let _ = writeln!(out, "# {line}");
    }
    let _ = writeln!(out, "# ({}; default: {})", row.shape, fallback(row));
    let names = other_names(row);
    if !names.is_empty() {
        let _ = writeln!(out, "# Also read: {}.", names.join(", "));
    }
    let value = match row.default {
        Fallback::Value(value) => value,
        _ => "",
    };
    let _ = writeln!(out, "#{}={value}", row.name);
}

/// `siskin help TOPIC`, where the topic is a word of a setting's name: all settings with it; none is a command's name, or nobody's.
pub fn help(topic: &str) -> Option<String> {
    let word = topic.to_ascii_uppercase();
    let commands = Siskin::get_args_info().commands;
    let mut out = String::new();
    if commands.iter().all(|command| command.command.name != topic) {
        for row in SETTINGS.iter().filter(|row| row.name.contains(&word)) {
            example_of(&mut out, row);
        }
    }
    (!out.is_empty()).then_some(out)
}

/// README's table.
fn markdown() -> String {
    let mut out = String::from("| Setting | Default | What it does |\n| --- | --- | --- |\n");
    for row in SETTINGS {
        let default = match row.default {
            Fallback::Value(text) => format!("`{text}`"),
            _ => fallback(row).to_owned(),
        };
        let names: Vec<String> = other_names(row)
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let also = match names.is_empty() {
            true => String::new(),
            false => format!(" Also {}.", names.join(", ")),
        };
        let about = format!("{} ({}.){also}", row.about, row.shape);
        let _ = writeln!(
            out,
            "| `{}` | {default} | {} |",
            row.name,
            about.replace('|', "\\|")
        );
    }
    out
}

/// Lines of at most `width` characters, broken at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// siskin(1) in man(7)'s language.
fn manual() -> String {
    let info = Siskin::get_args_info();
    let mut out = format!(".TH SISKIN 1 \"\" \"siskin {VERSION}\" \"User Commands\"\n");
    out.push_str(".SH NAME\nsiskin \\- the live connection of an AI chat application\n");
    out.push_str(".SH SYNOPSIS\n.B siskin\n.RI [ command ]\n.RI [ options ]\n.SH DESCRIPTION\n");
    out.push_str(&roff("siskin keeps browsers connected to an AI chat application: an Engine.IO and Socket.IO server, \
        with an HTTP API for the application's backend. Without a command it serves. It is set up by environment variables alone.\n"));
    out.push_str(".SH COMMANDS\n");
    for command in &info.commands {
        manual_command(&mut out, &command.command);
    }
    // argh has no description of its own command.
    out.push_str(".SS help [topic]\n");
    out.push_str(
        "tell about siskin, one command, or the settings with this word in their names.\n",
    );
    out.push_str(".PP\n.EX\nsiskin help backup\n.EE\n.PP\n.EX\nsiskin help redis\n.EE\n");
    out.push_str(".SH SETTINGS\n");
    for row in SETTINGS {
        let _ = writeln!(out, ".TP\n.B {}\n{}", roff(row.name), roff(row.about));
        let _ = writeln!(out, "Write {}.", roff(row.shape));
        let _ = writeln!(out, "Default: {}.", roff(fallback(row)));
        let names = other_names(row);
        if !names.is_empty() {
            let _ = writeln!(out, "Also read: {}.", roff(&names.join(", ")));
        }
    }
    out.push_str(".PP\n");
    out.push_str(&roff("A secret NAME can stand in a file that NAME_FILE names, or in a systemd credential called NAME.\n"));
    out.push_str(".SH EXIT STATUS\n");
    for code in info.error_codes {
        let _ = writeln!(out, ".TP\n.B {}\n{}", code.code, roff(code.description));
    }
    out.push_str(".SH EXAMPLES\n");
    for example in info.examples {
        let _ = writeln!(out, ".PP\n.EX\n{}\n.EE", roff(&typed(example, "siskin")));
    }
    out
}

fn manual_command(out: &mut String, command: &CommandInfoWithArgs) {
    let _ = writeln!(
        out,
        ".SS {}\n{}.",
        roff(&usage(command)),
        roff(command.description)
    );
    let flags = command
        .flags
        .iter()
        .filter(|flag| !flag.hidden && flag.long != "--help");
    for flag in flags {
        let _ = writeln!(
            out,
            ".TP\n.B {}\n{}",
            roff(&flag_usage(flag)),
            roff(flag.description)
        );
    }
    for positional in command.positionals {
        let _ = writeln!(
            out,
            ".TP\n.I {}\n{}",
            roff(positional.name),
            roff(positional.description)
        );
    }
    for note in command.notes {
        let _ = writeln!(out, ".PP\n{}", roff(note));
    }
    for example in command.examples {
        let name = format!("siskin {}", command.name);
        let _ = writeln!(out, ".PP\n.EX\n{}\n.EE", roff(&typed(example, &name)));
    }
}

/// An example of argh's, as one types it.
fn typed(example: &str, name: &str) -> String {
    let example = example.replace("{command_name}", name);
    example.replace("{{", "{").replace("}}", "}")
}

/// A command with what must and may follow it.
fn usage(command: &CommandInfoWithArgs) -> String {
    let mut text = command.name.to_owned();
    if command.flags.iter().any(|flag| flag.long != "--help") {
        text.push_str(" [options]");
    }
    for positional in command.positionals {
        let _ = match positional.optionality {
            Optionality::Required => write!(text, " {}", positional.name),
            _ => write!(text, " [{}]", positional.name),
        };
    }
    text
}

fn flag_usage(flag: &FlagInfo<'_>) -> String {
    match flag.kind {
        FlagInfoKind::Switch => flag.long.to_owned(),
        FlagInfoKind::Option { arg_name } => format!("{} {arg_name}", flag.long),
    }
}

/// Text that troff takes as it is: no escape, no line that begins with a command.
fn roff(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('`', "\\(ga");
    let guard = text.starts_with(['.', '\'']);
    format!("{}{text}", if guard { "\\&" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a golden file; `SISKIN_BLESS=1 cargo test` writes them anew.
    fn golden(name: &str, made: &str) {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        let made = made.replace(&format!("siskin {VERSION}"), "siskin VERSION");
        if std::env::var_os("SISKIN_BLESS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "{path} is not what the tables make; look at the difference after SISKIN_BLESS=1 cargo test"
        );
    }

    #[test]
    fn help_is_the_golden_one() {
        let mut help = String::new();
        let commands: Vec<_> = Siskin::get_args_info()
            .commands
            .iter()
            .map(|command| command.name)
            .collect();
        for typed in std::iter::once(None).chain(commands.into_iter().map(Some)) {
            let typed: Vec<&str> = typed.into_iter().chain(["--help"]).collect();
            let exit = Siskin::from_args(&["siskin"], &typed).err().unwrap();
            let _ = write!(help, "$ siskin {}\n{}\n", typed.join(" "), exit.output);
        }
        golden("help.txt", &(help + &settings_help()));
    }

    #[test]
    fn what_is_made_of_the_table_is_the_golden_one() {
        golden("siskin.1", &manual());
        golden("siskin.env", &example_file());
        golden("settings.md", &markdown());
    }

    #[test]
    fn the_readme_has_the_table() {
        let readme = include_str!("../../README.md");
        let table = markdown();
        assert!(
            readme.contains(table.trim_end()),
            "`siskin env --markdown` prints README's table of settings"
        );
    }

    #[test]
    fn each_setting_is_in_each_text() {
        for text in [settings_help(), manual(), example_file(), markdown()] {
            for row in SETTINGS {
                assert!(text.contains(row.name), "{}", row.name);
            }
        }
    }

    #[test]
    fn the_example_file_says_the_defaults() {
        let uncommented = example_file();
        let lines = uncommented
            .lines()
            .filter_map(|line| line.strip_prefix('#')?.split_once('='));
        let mut env: crate::config::env::Env = lines
            .filter(|(name, _)| SETTINGS.iter().any(|row| row.name == *name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(env.len(), SETTINGS.len());
        env.insert("HOME".into(), "/h".into());
        env.insert("WEBUI_SECRET_KEY".into(), "0123456789abcdef".into());
        let reading = crate::config::read(&env);
        assert_eq!(
            (reading.mistakes.len(), reading.warnings.len()),
            (0, 0),
            "{reading:?}"
        );
    }

    #[test]
    fn help_finds_settings_by_a_word_of_their_names() {
        let one = help("siskin_listen").unwrap();
        assert!(one.ends_with("#SISKIN_LISTEN=127.0.0.1:8380\n") && example_file().contains(&one));
        let some = help("recovery").unwrap();
        assert_eq!(some.matches("\n#SISKIN_RECOVERY").count(), 3, "{some}");
        // A command's name, which stands in a setting's, too; and a word that stands in none.
        assert_eq!((help("token"), help("nowhere")), (None, None));
    }

    #[test]
    fn roff_is_inert() {
        assert_eq!(roff(".SH \\fB `x`-y"), "\\&.SH \\efB \\(gax\\(ga\\-y");
    }
}
