//! The page of a run: that it says what happened, holds together as markup, and asks for nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

use crate::space::{TestSpace, answer, processes_with, wait_until};

/// A source that is there, a matrix, a stage that fails once, one that fails for good and one behind it, one that is
/// left out, measured numbers and a page.
const STAGES: &str = r#"
[stages.notes]
kind = "source"
params = { path = "notes.txt" }

[stages.cell]
kind = "exec"
matrix = { text = [{ name = "plain", value = "plain" }, { name = "markup", value = "<script>alert('m')</script>" }, { name = "signs", value = "a&b \"c\" 'd'" }] }
inputs = { in = "notes" }
outputs = { out = "files" }
params = { command = ["sh", "-c", "printf %s \"$1\" > $GAZAL_OUTPUT_out/f", "sh", "${matrix.text.value}"] }

[stages.flaky]
kind = "exec"
inputs = { in = "notes" }
outputs = { out = "files" }
retries = { max = 2, backoff = "10ms" }
params = { command = ["sh", "-c", "echo x >> tries; [ $(wc -l < tries) -ge 2 ]"] }

[stages.broken]
kind = "exec"
inputs = { in = "flaky" }
outputs = { out = "files" }
params = { command = ["sh", "-c", "printf '\\033[31mred\\033[0m </pre><script>alert(1)</script> \\007\\n' >&2; exit 7"] }

[stages.behind]
kind = "exec"
inputs = { in = "broken" }
outputs = { out = "files" }
params = { command = ["true"] }

[stages.eval]
kind = "exec"
inputs = { cells = "cell" }
outputs = { metrics = "metrics", page = "report" }
params = { command = ["sh", "eval.sh"], sources = ["eval.sh"] }

[stages.release]
kind = "exec"
outputs = { out = "files" }
when = "eval.qa.acc > 0.9"
params = { command = ["true"] }
"#;

const EVAL: &str = r#"echo '{"qa <b>": {"x": 1}, "qa": {"acc": 0.5125, "acc_low": 0.4, "acc_high": 0.625}}' > $GAZAL_OUTPUT_metrics/metrics.json
printf '<p id="own">from the stage</p><script>document.title = 1</script>' > $GAZAL_OUTPUT_page/report.html
echo 'the words of the page' > $GAZAL_OUTPUT_page/report.txt
"#;

fn space() -> TestSpace {
    let space = TestSpace::with(STAGES);
    space.write("notes.txt", "a note\n");
    space.write("eval.sh", EVAL);
    space.expect(0, "run pipeline.toml notes");
    space
}

/// The last event of a run.
fn last(space: &TestSpace, words: &str) -> Value {
    let told = space.run(&format!("run --json pipeline.toml {words}")).stdout;
    serde_json::from_str(told.lines().last().unwrap()).unwrap()
}

/// The page, parsed as strictly as XML is.
fn parsed(page: &str) -> Document<'_> {
    Document::parse_with_options(page, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() }).unwrap()
}

fn part<'a>(page: &'a Document, id: &str) -> Node<'a, 'a> {
    page.descendants().find(|node| node.attribute("id") == Some(id)).unwrap_or_else(|| panic!("no `{id}`"))
}

/// All text of a part, tooltips included.
fn text(node: Node) -> String {
    let texts = node.descendants().filter(Node::is_text).filter_map(|node| node.text());
    texts.collect::<Vec<_>>().join(" ")
}

/// The row of a stage in the table.
fn row(page: &Document, name: &str) -> String {
    let rows = part(page, "stages").descendants().filter(|node| node.tag_name().name() == "tr");
    let mut rows = rows.filter(|row| row.descendants().any(|cell| cell.text() == Some(name)));
    text(rows.next().unwrap_or_else(|| panic!("no row of `{name}`")))
}

fn has(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is missing in: {text}"));
}

#[test]
fn the_page_of_a_run_says_what_happened() {
    let space = space();
    let event = last(&space, "-j 2");
    assert_eq!((event["event"].as_str(), event["failed"].as_u64()), (Some("run"), Some(1)), "{event}");
    assert!(event["saved"].as_f64().unwrap() > 0.0);
    let page = space.read(event["report"].as_str().unwrap());
    let page = parsed(&page);

    let head = text(page.descendants().find(|node| node.tag_name().name() == "header").unwrap());
    has(&head, &["test", "failed", event["run"].as_str().unwrap(), "gazal-pipe run", "pipeline.toml", "saved"]);
    for (stage, words) in [
        ("notes", ["source", "up to date", "saved"].as_slice()),
        ("flaky", &["ran", "2 tries", "it never ran"]),
        ("broken", &["failed"]),
        ("behind", &["blocked"]),
        ("release", &["skipped", "does not hold"]),
        ("cell@text=markup", &["ran"]),
    ] {
        has(&row(&page, stage), words);
    }
    has(&text(part(&page, "failures")), &["broken", "exit status: 7", "red </pre><script>alert(1)</script>"]);
    the_graph(&page);
    the_timeline(&page);
    has(&text(part(&page, "metrics")), &["acc", "0.512", "[0.400, 0.625]", "qa <b>"]);
    let frame = page.descendants().find(|node| node.has_attribute("srcdoc")).unwrap();
    assert_eq!(frame.attribute("sandbox"), Some("allow-same-origin"), "no script of an embedded page runs");
    has(frame.attribute("srcdoc").unwrap(), &["<p id=\"own\">from the stage</p>"]);
    has(&text(part(&page, "results")), &["the words of the page"]);
    the_lineage(&space, &page);
    has(&text(part(&page, "environment")), &["gazal-pipe 0.1.0", "Cores", "Memory", "no stage computed"]);
}

fn the_graph(page: &Document) {
    let graph = part(page, "graph");
    let nodes: Vec<Node> = graph
        .descendants()
        .filter(|node| node.attribute("class").is_some_and(|class| class.starts_with("node ")))
        .collect();
    let states: Vec<&str> = nodes.iter().map(|node| &node.attribute("class").unwrap()[5..]).collect();
    assert_eq!(nodes.len(), 7, "{states:?}");
    for state in ["hit", "ran", "failed", "blocked", "skipped"] {
        assert!(states.contains(&state), "{states:?}");
    }
    let cells = nodes.iter().find(|node| text(**node).contains("cell × 3")).unwrap();
    has(&text(*cells), &["ran"]);
    let edges =
        graph.descendants().filter(|node| node.attribute("class").is_some_and(|class| class.starts_with("edge")));
    assert_eq!(edges.count(), 6, "notes to cell and flaky, flaky to broken to behind, cell to eval to release");
    for node in graph.descendants().filter(|node| node.tag_name().name() == "use") {
        part(page, node.attribute("href").unwrap().strip_prefix('#').unwrap());
    }
}

fn the_timeline(page: &Document) {
    let timeline = part(page, "timeline");
    let bars = |class: &str| {
        timeline
            .descendants()
            .filter(|node| node.tag_name().name() == "rect" && node.attribute("class") == Some(class))
            .count()
    };
    assert_eq!(
        (bars("run"), bars("fail")),
        (5, 2 + 1),
        "cells, flaky, eval; flaky and broken, and the pattern of such bars"
    );
    has(&text(timeline), &["flaky", "2×", "up to date", "blocked"]);
}

fn the_lineage(space: &TestSpace, page: &Document) {
    let lineage = text(part(page, "lineage"));
    let digest = |path: &str| {
        let bytes = std::fs::read(space.path(path)).unwrap();
        gazal_store::Digest::of(bytes).to_string()
    };
    has(&lineage, &["eval.metrics", "notes.txt", &digest("notes.txt"), "eval.sh", &digest("eval.sh"), "revision"]);
    has(&lineage, &["command = [\"sh\",\"eval.sh\"]", "← cells", "→ metrics", "\"<script>alert('m')</script>\""]);
    for node in part(page, "lineage").descendants().filter_map(|node| node.attribute("href")) {
        part(page, node.strip_prefix('#').unwrap());
    }
}

#[test]
fn the_page_asks_for_nothing_and_runs_nothing() {
    let space = space();
    let event = last(&space, "");
    let page = space.read(event["report"].as_str().unwrap());
    let page = parsed(&page);
    let names = page.descendants().filter(Node::is_element).map(|node| node.tag_name().name());
    assert!(names.clone().all(|name| !["script", "link", "img", "object", "embed", "form"].contains(&name)));
    for attribute in page.descendants().flat_map(|node| node.attributes()) {
        assert!(!attribute.name().starts_with("on") && attribute.name() != "src", "{}", attribute.name());
        let asks = attribute.name() == "href" && !attribute.value().starts_with(['#', '.']);
        assert!(!asks, "{}", attribute.value());
    }
    let folder = space.path(event["report"].as_str().unwrap()).parent().unwrap().to_path_buf();
    for link in page.descendants().filter_map(|node| node.attribute("href")).filter(|link| link.starts_with('.')) {
        assert!(folder.join(unquoted(link)).is_file(), "{link}");
    }
    has(part(&page, "environment").document().input_text(), &["default-src 'none'"]);
}

fn unquoted(link: &str) -> PathBuf {
    let mut parts = link.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].bytes());
    }
    PathBuf::from(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_run_with_nothing_to_do_has_a_page_when_it_is_asked_for() {
    let space = TestSpace::with(
        "[stages.a]\nkind = \"source\"\nparams = { path = \"notes.txt\" }\n\
         [stages.b]\nkind = \"exec\"\ninputs = { x = \"a\" }\noutputs = { out = \"files\" }\n\
         params = { command = [\"sh\", \"-c\", \"cat $GAZAL_INPUT_x/notes.txt > $GAZAL_OUTPUT_out/f; echo more >> $GAZAL_OUTPUT_out/f\"] }\n",
    );
    space.write("notes.txt", "a note\n");
    let told = space.expect(0, "run pipeline.toml").stdout;
    assert!(told.contains("the run as a page: /"), "{told}");
    let event = last(&space, "");
    assert_eq!((event["hit"].as_u64(), &event["report"]), (Some(2), &Value::Null));
    let folder = space.path("cache/runs").join(event["run"].as_str().unwrap());
    assert!(!folder.join("report.html").exists() && !folder.join("graph.jsonl").exists());

    let told = space.expect(0, "report pipeline.toml --json").stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["run"], told["report"].as_str()), (&event["run"], folder.join("report.html").to_str()));
    let page = space.read(told["report"].as_str().unwrap());
    let page = parsed(&page);
    has(&text(part(&page, "graph")), &["x: a.out", "contents that were read"]);
    has(&text(part(&page, "timeline")), &["Nothing had to run"]);
    has(&text(part(&page, "lineage")), &["b.out", "notes.txt"]);
}

#[test]
fn the_run_and_the_file_that_are_meant_can_be_named() {
    let space = space();
    assert!(space.expect(2, "report").stderr.contains("no pipeline file"));
    let first = last(&space, "--set stages.notes.params.path=notes.txt flaky");
    let first = first["run"].as_str().unwrap();
    space.run("run pipeline.toml");
    space.expect(0, &format!("report --run {first} --out page.html"));
    let page = space.read("page.html");
    assert!(page.contains(&format!("run {first}</title>")));
    assert!(
        parsed(&page).descendants().filter_map(|node| node.attribute("href")).any(|link| link.starts_with("file:///"))
    );
    space.expect(0, "report pipeline.toml --run last --out page.html");
    assert!(!space.read("page.html").contains(&format!("run {first}</title>")));
    space.write("other.toml", "[pipeline]\nname = \"other\"\n");
    assert!(space.expect(2, "report other.toml").stderr.contains("has not run yet"));
    assert!(space.expect(2, &format!("report other.toml --run {first}")).stderr.contains("another pipeline"));
    assert_eq!(space.run("report pipeline.toml --out no/such/folder/page.html").code, 1);
}

#[test]
fn a_run_that_goes_on_has_a_page_and_one_that_was_killed() {
    let mark = "mark-of-the-reported-one";
    let space = TestSpace::with(&format!(
        "[stages.wait]\nkind = \"exec\"\noutputs = {{ out = \"files\" }}\n\
         params = {{ command = [\"sh\", \"-c\", \"touch started; sleep 300\", \"{mark}\"] }}\n\
         [stages.after]\nkind = \"exec\"\ninputs = {{ in = \"wait\" }}\noutputs = {{ out = \"files\" }}\nparams = {{ command = [\"true\"] }}\n"
    ));
    let mut child = space.start("run pipeline.toml");
    wait_until("the stage's start", || space.path("started").exists());
    let page = |space: &TestSpace| {
        space.expect(0, "report pipeline.toml --out page.html");
        space.read("page.html")
    };
    let written = page(&space);
    let running = parsed(&written);
    has(&row(&running, "wait"), &["running"]);
    has(&row(&running, "after"), &["waiting"]);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the end of all processes", || processes_with(mark).is_empty());
    let written = page(&space);
    let killed = parsed(&written);
    has(&row(&killed, "wait"), &["killed"]);
    has(&text(part(&killed, "failures")), &["its runner was killed"]);
}

#[test]
fn an_interrupted_run_has_its_page_too() {
    let space = TestSpace::with(
        "[stages.wait]\nkind = \"exec\"\noutputs = { out = \"files\" }\nparams = { command = [\"sh\", \"-c\", \"touch started; sleep 300\"] }\n",
    );
    let child = space.start("run --json pipeline.toml");
    wait_until("the stage's start", || space.path("started").exists());
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let told = answer(&child.wait_with_output().unwrap());
    assert_eq!(told.code, 130);
    let event: Value = serde_json::from_str(told.stdout.lines().last().unwrap()).unwrap();
    let page = space.read(event["report"].as_str().unwrap());
    let page = parsed(&page);
    has(&row(&page, "wait"), &["interrupted"]);
    has(&text(page.root_element()), &["was interrupted"]);
}

#[test]
fn many_stages_are_a_page_that_can_still_be_looked_at() {
    let axis: Vec<String> = (0..2_500).map(|point| point.to_string()).collect();
    let space = TestSpace::with(&format!(
        "[stages.cell]\nkind = \"exec\"\nmatrix = {{ x = [{}] }}\noutputs = {{ out = \"files\" }}\n\
         params = {{ command = [\"false\", \"x${{matrix.x}}\"] }}\n[stages.all]\nkind = \"exec\"\ninputs = {{ in = \"cell\" }}\n\
         outputs = {{ out = \"files\" }}\nparams = {{ command = [\"true\"] }}\n",
        axis.join(",")
    ));
    let event = last(&space, "--fail-fast -j 1");
    assert_eq!(
        event["skipped"].as_u64().unwrap() + event["failed"].as_u64().unwrap() + event["blocked"].as_u64().unwrap(),
        2_501
    );
    let page = space.read(event["report"].as_str().unwrap());
    assert!(page.len() < 400_000, "{} bytes", page.len());
    let page = parsed(&page);
    has(&text(part(&page, "graph")), &["cell × 2500", "skipped"]);
    has(&text(part(&page, "stages")), &["more:"]);
}

#[test]
fn a_page_that_cannot_be_written_fails_no_run() {
    let space = space();
    let told = space.expect(1, "run pipeline.toml");
    let page = told.stdout.lines().find_map(|line| line.strip_prefix("the run as a page: ")).unwrap().to_string();
    let folder = Path::new(&page).parent().unwrap();
    std::fs::remove_file(&page).unwrap();
    std::fs::create_dir(&page).unwrap();
    let told = space.run(&format!("report --run {}", folder.file_name().unwrap().to_str().unwrap()));
    assert_eq!(told.code, 1);
    let left = std::fs::read_dir(folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".report"));
    assert_eq!(left.count(), 0, "no half page is left");
}

fn chromium() -> Option<PathBuf> {
    let folders = std::env::split_paths(&std::env::var_os("PATH")?).collect::<Vec<_>>();
    let names = ["chromium", "chromium-browser"];
    folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
}

#[test]
fn a_browser_opens_the_page_without_a_complaint() {
    let required = std::env::var("GAZAL_REQUIRE").is_ok_and(|names| names.contains("chromium"));
    let Some(browser) = chromium() else {
        assert!(!required, "there is no Chromium here");
        eprintln!("passed over: there is no Chromium here");
        return;
    };
    let space = space();
    // An embedded page's script is refused with a word on the console; this one has none.
    space.write("eval.sh", &EVAL.replace("<script>document.title = 1</script>", ""));
    let page = last(&space, "")["report"].as_str().unwrap().to_string();
    let profile = space.path("profile");
    let said = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{page}"))
        .env("HOME", space.path(""))
        .output()
        .unwrap();
    let (shown, log) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{log}");
    has(&shown, &["id=\"lineage\"", "mark-blocked", "What went wrong"]);
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
