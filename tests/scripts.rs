//! The scripts, with everything they call replaced: what they say, in which order, and how they end.
#![cfg(test)]
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A repository with a script in it, and programs that do as they are told.
struct Sandbox {
    root: PathBuf,
}

/// What became of a script.
struct Ran {
    code: Option<i32>,
    said: String,
    /// What it called, line by line.
    calls: String,
    evidence: String,
}

impl Sandbox {
    /// With `scripts/release`, one commit, and everything that a release needs.
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scripts-{name}"));
        let _ = fs::remove_dir_all(&root);
        let this = Self { root };
        for file in ["scripts/release", "Cargo.toml"] {
            let text = fs::read_to_string(in_repository(file)).unwrap();
            this.write(&format!("repository/{file}"), &text);
        }
        this.write("repository/CHANGELOG.md", "## [Unreleased]\n");
        for script in ["tests/run", "tests/conformance/run", "fuzz/run"] {
            let text = script_that(&format!("echo '5 passed, 0 failed'; {RECORD}"));
            this.write(&format!("repository/{script}"), &text);
        }
        this.write("bin/cargo", &script_that(CARGO));
        for tool in ["rustup", "rustc", "cargo-deny", "cargo-check-external-types", "node"] {
            this.write(&format!("bin/{tool}"), &script_that(RECORD));
        }
        this.git("init -q");
        this.commit();
        this
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn git(&self, args: &str) {
        let who =
            "-c user.name=a -c user.email=a@example -c commit.gpgsign=false -c tag.gpgsign=false";
        let command = format!("git {who} {args}");
        assert!(self.command("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }

    fn commit(&self) {
        self.git("add -A");
        self.git("commit -q --allow-empty -m all");
    }

    /// In the repository, with nothing of this machine's but what every system has.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.root.join("bin").display());
        command.current_dir(self.root.join("repository")).env("PATH", path);
        command.env("SANDBOX", &self.root).env_remove("GIT_DIR");
        command
    }

    fn run(&self, script: &str, args: &[&str]) -> Ran {
        let output = self.command(format!("./{script}")).args(args).output().unwrap();
        let read = |path: &str| fs::read_to_string(self.root.join(path)).unwrap_or_default();
        Ran {
            code: output.status.code(),
            said: [output.stdout, output.stderr]
                .map(|it| String::from_utf8_lossy(&it).into_owned())
                .concat(),
            calls: read("calls"),
            evidence: read("target/release-evidence/evidence.txt"),
        }
    }

    fn release(&self) -> Ran {
        self.run("scripts/release", &[])
    }
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn script_that(does: &str) -> String {
    format!("#!/usr/bin/env bash\n{does}\n")
}

#[test]
fn a_first_release_is_signed_with_evidence_of_everything_that_applies() {
    let Ran { code, said, calls, evidence } = Sandbox::new("first").release();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("10 passed, 0 failed, 0 not run, 1 do not apply"), "{said}");
    for call in
        ["tests/run", "tests/conformance/run", "fuzz/run 1200", "cargo deny check advisories"]
    {
        assert!(calls.lines().any(|it| it == call), "{call}: {calls}");
    }
    for part in [
        "tree clean",
        "crate, 5 bytes, sha256 ",
        "result   10 passed, 0 failed, 0 not run, 1 do not apply",
        "does not apply  public API: no breaking change without a major version: there is no release",
        "$ fuzz/run 1200",
        "5 passed, 0 failed",
        "questions for a person",
        concat!("has a section for ", env!("CARGO_PKG_VERSION"), ": no"),
        "files in the package: 2",
        "  src/lib.rs",
    ] {
        assert!(evidence.contains(part), "{part}: {evidence}");
    }
    // Git leaves such lines out of what a tag says.
    assert!(!evidence.lines().any(|it| it.starts_with('#')), "{evidence}");
}

#[test]
fn with_a_release_before_it_the_public_api_is_compared_with_that() {
    let sandbox = Sandbox::new("second");
    sandbox.git("tag v0.0.9");
    sandbox.write("bin/cargo-semver-checks", &script_that(RECORD));
    let Ran { code, said, calls, evidence } = sandbox.release();
    assert_eq!(code, Some(0), "{said}");
    assert!(calls.contains("semver-checks --all-features --baseline-rev v0.0.9"), "{calls}");
    assert!(evidence.contains("11 passed, 0 failed, 0 not run, 0 do not apply"), "{evidence}");
}

#[test]
fn what_is_missing_is_named_first_with_how_to_get_it_and_nothing_is_run() {
    let no_toolchain = script_that("[[ $2 != 1.* ]]");
    let says = |what: &str| script_that(&format!("echo 'get {what}' >&2; exit 2"));
    for (name, path, text, named) in [
        ("toolchain", "bin/rustup", no_toolchain, "rustup toolchain install 1."),
        ("fuzzer", "repository/fuzz/run", says("cargo-fuzz"), "get cargo-fuzz"),
        ("suite", "repository/tests/conformance/run", says("Python 2.7"), "get Python 2.7"),
        ("programs", "repository/tests/run", says("chromium"), "get chromium"),
        ("changes", "repository/new", String::new(), "what is signed is a commit"),
    ] {
        let sandbox = Sandbox::new(name);
        sandbox.write(path, &text);
        if name != "changes" {
            sandbox.commit();
        }
        let Ran { code, said, calls, evidence } = sandbox.release();
        assert_eq!(code, Some(2), "{name}: {said}");
        let (missing, rest) = said.split_once("What is run").unwrap();
        assert!(
            missing.starts_with("What is missing") && missing.contains(named),
            "{name}: {said}"
        );
        assert!(rest.contains(" min  in all"), "{name}: {said}");
        assert!(!calls.contains("check ") && evidence.is_empty(), "{name}: {calls}");

        let Ran { code, said, evidence, .. } = sandbox.run("scripts/release", &["--partial"]);
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(evidence.contains("NOT RUN"), "{name}: {evidence}");
    }
}

#[test]
fn a_version_that_is_released_is_not_released_again() {
    let sandbox = Sandbox::new("again");
    let tag = concat!("v", env!("CARGO_PKG_VERSION"));
    sandbox.git(&format!("tag {tag}"));
    let Ran { code, said, .. } = sandbox.release();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("{tag} is released")), "{said}");
}

#[test]
fn what_fails_is_shown_and_hides_nothing_behind_it() {
    let sandbox = Sandbox::new("failure");
    let fails =
        format!("{RECORD}\n[[ $1 == --check ]] || {{ echo 'case 9.3.1 went wrong'; exit 1; }}");
    sandbox.write("repository/tests/conformance/run", &script_that(&fails));
    sandbox.commit();
    let Ran { code, said, calls, evidence } = sandbox.release();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("FAILED   conformance") && said.contains("case 9.3.1"), "{said}");
    assert!(calls.contains("fuzz/run 1200"), "{calls}");
    assert!(evidence.contains("9 passed, 1 failed"), "{evidence}");
}

#[test]
fn python_2_is_found_among_however_many_versions() {
    let sandbox = Sandbox::new("python");
    let text = fs::read_to_string(in_repository("tests/conformance/run")).unwrap();
    sandbox.write("repository/tests/conformance/run", &text);
    sandbox.write("repository/tests/conformance/requirements.txt", "suite");
    sandbox.write("bin/python2.7", &script_that("exit 127"));
    for (versions, found) in [
        ("2.7.18; seq 100000", true),
        ("3.11.7; seq 100000; echo 2.7.9", true),
        ("2.7.18-dev; echo 12.7.1; echo 2.7", false),
    ] {
        let pyenv = format!("[[ $1 == versions ]] || exec echo /bin/$1; echo {versions}");
        sandbox.write("bin/pyenv", &script_that(&pyenv));
        // Whether a writer finds its pipe closed is a matter of who is faster.
        for _ in 0..5 {
            let Ran { code, said, .. } = sandbox.run("tests/conformance/run", &["--check"]);
            assert_eq!(code, Some(if found { 0 } else { 2 }), "{versions}: {said}");
        }
    }
}

/// Under pipefail, which all of them set, such a pipe fails when its writer is slower.
#[test]
fn no_script_ends_a_pipe_before_its_writer_has_ended() {
    let ends_early = |line: &str| {
        line.split('|').skip(1).map(str::trim_start).any(|reader| {
            let (program, args) = reader.split_once(' ').unwrap_or((reader, ""));
            let flag = |letter| {
                let mut words = args.split(' ').take_while(|it| it.starts_with('-'));
                words.any(|it| !it.starts_with("--") && it.contains(letter))
            };
            match program {
                "head" | "read" => true,
                "grep" => flag('q') || flag('m') || flag('l'),
                "sed" => args.contains("q'") || args.contains("q;"),
                "awk" => args.contains("exit }") || args.contains("exit;"),
                _ => false,
            }
        })
    };
    for (line, early) in [
        ("ls | head -1", true),
        ("pyenv versions --bare | grep -xm1 '2'", true),
        ("a | tr b c | grep -q d", true),
        ("a | sed 3q", false),
        ("a | sed '3q'", true),
        ("a | awk '{ print; exit }'", true),
        ("a | grep -v b", false),
        ("a || grep -q b file", false),
    ] {
        assert_eq!(ends_early(&line.replace("||", "or")), early, "{line}");
    }
    for script in SCRIPTS {
        let text = fs::read_to_string(in_repository(script)).unwrap();
        assert!(text.contains("pipefail"), "{script}");
        for line in text.lines().filter(|it| !it.trim_start().starts_with('#')) {
            assert!(!ends_early(&line.replace("||", "or")), "{script}: {line}");
        }
    }
}

#[test]
fn the_package_has_what_a_user_needs_and_no_more() {
    let list = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let problem = String::from_utf8_lossy(&list.stderr).into_owned();
    let list = String::from_utf8(list.stdout).unwrap();
    let files: Vec<_> = list.lines().collect();
    for needed in [
        "CHANGELOG.md",
        "Cargo.lock",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "SECURITY.md",
        "src/lib.rs",
        "examples/minimal.rs",
        "docs/assurance/attacks.md",
    ] {
        assert!(files.contains(&needed), "{needed}: {problem}{list}");
    }
    let folders = ["src/", "examples/", "benches/", "docs/"];
    for file in &files {
        let known = folders.iter().any(|it| file.starts_with(it)) || !file.contains('/');
        let others = ["fuzz/", "node_modules", ".venv", "__pycache__"];
        assert!(known && !others.iter().any(|it| file.contains(it)), "{file}");
        assert!(!file.starts_with('.') || *file == ".cargo_vcs_info.json", "{file}");
    }
}

const SCRIPTS: &[&str] = &[
    "fuzz/run",
    "scripts/readme",
    "scripts/release",
    "scripts/soak",
    "tests/conformance/run",
    "tests/run",
];

/// Notes that it was called, and how.
const RECORD: &str = r#"echo "${0#"$SANDBOX/bin/"} $*" | sed 's/ $//' >>"$SANDBOX/calls""#;

/// Cargo, which makes a package of five bytes with two files.
const CARGO: &str = r#"
echo "cargo $*" >>"$SANDBOX/calls"
case "$*" in
metadata*) echo "{\"target_directory\":\"$SANDBOX/target\"}" ;;
*--list*) printf '%s\n' Cargo.toml src/lib.rs ;;
package*)
  mkdir -p "$SANDBOX/target/package"
  version=$(sed -n '/^version/s/.* = "\(.*\)"/\1/p' Cargo.toml)
  printf 12345 >"$SANDBOX/target/package/tower-websocket-$version.crate"
  ;;
esac
"#;
