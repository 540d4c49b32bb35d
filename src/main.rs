//! The command line; nothing else.

fn main() -> std::process::ExitCode {
    siskin::cli::main()
}
