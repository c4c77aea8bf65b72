//! `runs ls`: the runs of a store, oldest first.

use gazal_engine::{Record, read_record};

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::words;
use crate::workspace::open_store;

pub(crate) fn list(args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let records: Vec<Record> = open_store(args)?.runs()?.iter().filter_map(|dir| read_record(dir).ok()).collect();
    if out.json {
        let headers: Vec<_> =
            records.iter().map(|record| serde_json::json!({"run": record.header, "alive": record.alive})).collect();
        out.json_line(&serde_json::json!({"runs": headers}));
    } else if records.is_empty() {
        out.line("no run yet");
    } else {
        out.line(words::table(&records.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(Exit::Done)
}

fn row(record: &Record) -> Vec<String> {
    let header = &record.header;
    let (ending, time) = match (&header.summary, record.alive) {
        (Some(summary), _) => (
            format!("ran {}, hit {}, failed {}", summary.ran, summary.hit, summary.failed),
            words::duration(summary.seconds),
        ),
        (None, true) => ("is running".to_string(), String::new()),
        (None, false) => ("was killed".to_string(), String::new()),
    };
    let command = [header.requested.profiles.join("+"), header.requested.targets.join(" ")].join(" ");
    vec![header.run.clone(), header.pipeline.clone(), ending, time, command.trim().to_string()]
}
