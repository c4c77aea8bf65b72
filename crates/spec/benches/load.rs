//! Reading very large pipelines: time, and the most memory held on the way, a pipeline's own included.
//!
//! The two shapes are ten layers of chains written out as stages, and the same as ten matrix stages. Time and memory
//! must grow as the number of stages does.
//! `cargo bench -p gazal-spec`

use divan::{AllocProfiler, Bencher};
use gazal_spec::{Overrides, Pipeline, Source, load};
use gazal_stage_api::Kinds;
use mimalloc::MiMalloc;

#[path = "../src/tests/kinds.rs"]
mod kinds;

#[global_allocator]
static MEMORY: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

const LAYERS: usize = 10;
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const HEAD: &str = "[pipeline]\nname = \"large\"\n";

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
fn written_out(bencher: Bencher, stages: usize) {
    bench(bencher, &written(stages), stages);
}

#[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
fn matrix_points(bencher: Bencher, stages: usize) {
    bench(bencher, &matrix(stages), stages);
}

fn bench(bencher: Bencher, text: &str, stages: usize) {
    let kinds = kinds::kinds();
    bencher.bench_local(|| {
        let pipeline = read(text, &kinds);
        assert_eq!(pipeline.stages.len(), stages);
        pipeline
    });
}

fn read(text: &str, kinds: &Kinds) -> Pipeline {
    match load(&Source { name: "large.toml", text }, &Overrides::default(), kinds) {
        Ok(pipeline) => pipeline,
        Err(found) => panic!("{}", found[0].message),
    }
}

fn written(stages: usize) -> String {
    let mut text = HEAD.to_string();
    for chain in 0..stages / LAYERS {
        text += &format!("[stages.l0-{chain}]\nkind = \"synth\"\nparams = {{ rows = {chain} }}\n");
    }
    for (layer, chain) in (1..LAYERS).flat_map(|layer| (0..stages / LAYERS).map(move |chain| (layer, chain))) {
        let from = format!("l{}-{chain}", layer - 1);
        text += &format!("[stages.l{layer}-{chain}]\n{}", copy(layer, &from));
    }
    text
}

fn matrix(stages: usize) -> String {
    let chains: Vec<String> = (0..stages / LAYERS).map(|chain| chain.to_string()).collect();
    let axis = format!("matrix = {{ chain = [{}] }}\n", chains.join(", "));
    let mut text = format!("{HEAD}[stages.l0]\nkind = \"synth\"\n{axis}params = {{ rows = \"${{matrix.chain}}\" }}\n");
    for layer in 1..LAYERS {
        let from = format!("l{}@chain=${{matrix.chain}}", layer - 1);
        text += &format!("[stages.l{layer}]\n{axis}{}", copy(layer, &from));
    }
    text
}

fn copy(layer: usize, from: &str) -> String {
    let command = format!("[\"sh\", \"-c\", \"cp $GAZAL_INPUT_from/* $GAZAL_OUTPUT_out/\", \"layer {layer}\"]");
    format!(
        "kind = \"exec\"\ninputs = {{ from = \"{from}\" }}\noutputs = {{ out = \"files\" }}\nparams = {{ command = {command} }}\n"
    )
}
