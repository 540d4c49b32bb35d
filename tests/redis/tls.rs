//! siskin with the feature `tls`, beside the one without it, for test_tls.py.

fn main() -> std::process::ExitCode {
    siskin::cli::main()
}
