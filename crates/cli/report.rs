//! After a run: the reports among its results.

use std::fs;

use gazal_stage_api::PortType;
use gazal_store::{Output, Store};

use crate::out::Out;
use crate::run::Ended;
use crate::workspace::Workspace;

/// Prints every report's text, and says where its page lies.
pub(crate) fn tell(workspace: &Workspace, store: &Store, ended: &[Ended], out: &mut Out) {
    for stage in &workspace.pipeline.stages {
        let is_report = stage.outputs.iter().any(|port| port.kind == PortType::Report);
        let Some(ended) = ended.iter().find(|one| is_report && one.name == stage.name) else { continue };
        let receipt = ended.key.filter(|_| ended.state.is_success()).and_then(|key| store.receipt(&key).ok().flatten());
        let outputs = receipt.into_iter().flat_map(|receipt| receipt.outputs.into_values());
        outputs.filter(|output| output.kind == PortType::Report.name()).for_each(|output| show(store, &output, out));
    }
}

fn show(store: &Store, output: &Output, out: &mut Out) {
    let Ok(folder) = store.view(&output.artifact) else { return };
    if let Ok(text) = fs::read_to_string(folder.join("report.txt")) {
        out.line(format!("\n{}", text.trim_end()));
    }
    let page = folder.join("report.html");
    if page.exists() {
        out.line(format!("\nreport: {}", page.display()));
    }
}
