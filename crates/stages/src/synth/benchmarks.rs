//! `benchmarks`: four held-out multiple-choice sets, shaped as the four of Gazal-R1's table and named so that nobody
//! takes them for the real ones.

use gazal_data::{Stream, jsonl};
use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem as Mistake, StageError, Traits,
};
use gazal_tasks::Item;
use serde::{Deserialize, Serialize};

use super::knowledge::Fact;
use super::problems::Maker;
use super::run::read_conditions;
use super::wording::Split;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Questions about every condition in each of the four sets.
    #[serde(default = "one")]
    pub questions_per_condition: u64,
}

fn one() -> u64 {
    1
}

pub struct Benchmarks;

/// A set and the way in which its questions are drawn.
const SETS: [&str; 4] = ["mini_medqa", "mini_medmcqa", "mini_pubmedqa", "mini_mmlu_pro"];

impl Kind for Benchmarks {
    type Params = Params;
    const NAME: &'static str = "benchmarks";
    const REVISION: u32 = 2;
    const DOC: &'static str = "Four held-out question sets made from the embedded knowledge base.";
    const TRAITS: Traits = Traits::SEEDED;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::one("knowledge", PortType::Dataset, "conditions, as `knowledge` writes them")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("benchmarks", PortType::Dataset, "one file of items a benchmark")]
    }

    fn validate(&self, params: &Params) -> Vec<Mistake> {
        if params.questions_per_condition == 0 {
            return vec![Mistake::new("questions_per_condition", "must be at least 1")];
        }
        Vec::new()
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let conditions = read_conditions(context.input("knowledge")?)?;
        let maker = Maker { conditions: &conditions, split: Split::HeldOut };
        for set in SETS {
            let rows = conditions.len() as u64 * params.questions_per_condition;
            let stream = Stream::new(context.seed, set);
            let items: Vec<Item> = (0..rows).map(|row| item(&maker, set, row, &stream)).collect();
            let path = context.output("benchmarks")?.join(format!("{set}.jsonl"));
            jsonl::write_all(&path, &items).map_err(StageError::failed)?;
        }
        Ok(())
    }
}

fn item(maker: &Maker, set: &str, row: u64, stream: &Stream) -> Item {
    let index = row as usize % maker.conditions.len();
    let mut draws = stream.draws(row);
    let fact = *draws.pick(&Fact::ALL);
    let diagnosis = draws.below(2) == 0;
    let problem = match set {
        "mini_pubmedqa" => maker.evidence(index, &mut draws),
        "mini_medmcqa" => maker.fact(index, fact, 4, &mut draws),
        "mini_medqa" => maker.case(index, (!diagnosis).then_some(fact), 4, &mut draws),
        _ if diagnosis => maker.case(index, None, 10, &mut draws),
        _ => maker.fact(index, fact, 10, &mut draws),
    };
    Item { id: format!("{set}-{row:04}"), benchmark: set.into(), ..problem.item }
}
