//! The reference vectors: `fixtures/policy` (from the formulas, in torch's float64), and TRL 1.16's own loss and
//! advantages (`fixtures/vectors`, in float32).

use serde_json::Value;

use super::*;
use crate::fixtures::json;

/// Numbers of a possibly nested list; a missing one is NaN.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(tensor) => numbers(&tensor["data"]),
        Value::Bool(bit) => vec![f64::from(u8::from(*bit))],
        _ => vec![value.as_f64().unwrap_or(f64::NAN)],
    }
}

fn choice<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn policy_fixture_losses_and_gradients() {
    let value = json("policy/policy_losses.json");
    let cases = value["cases"].as_array().unwrap();
    for case in cases {
        let number = |field: &str| case[field].as_f64().unwrap();
        let config = PolicyConfig {
            loss_type: choice(&case["loss_type"]),
            importance_sampling_level: choice(&case["level"]),
            epsilon: number("epsilon_low"),
            epsilon_high: number("epsilon_high"),
            beta: number("beta"),
            max_completion_length: number("max_completion_length") as usize,
            ..PolicyConfig::default()
        };
        let advantage = AdvantageConfig {
            group_size: number("group_size") as usize,
            scale_rewards: choice(&case["scale_rewards"]),
            multi_objective_aggregation: MultiObjectiveAggregation::SumThenNormalize,
        };
        let advantages = super::super::advantages(&advantage, &[numbers(&case["rewards"])], &[]);
        assert_near(&advantages, &numbers(&case["advantages"]), 1e-9, "advantages");
        let log_probs = numbers(&case["logp"]);
        let case_of = Case {
            width: case["logp"][0].as_array().unwrap().len(),
            old: numbers(&case["old_logp"]),
            reference: numbers(&case["ref_logp"]),
            entropies: vec![0.0; log_probs.len()],
            importance_weights: None,
            mask: numbers(&case["mask"]).into_iter().map(|bit| bit > 0.5).collect(),
            log_probs,
            advantages,
        };
        let loss = case_of.loss(&config);
        assert_near(&[loss.loss, loss.metrics.kl()], &[number("loss"), number("kl")], 1e-9, &format!("{config:?}"));
        assert_near(&loss.gradient, &numbers(&case["grad"]), 1e-9, &format!("{config:?}"));
    }
    assert_eq!(cases.len(), 144);
}

/// TRL's `_compute_loss`, with its metrics. Its loss types `sapo` and `vespo` are not offered.
#[test]
fn policy_fixture_of_trl() {
    let value = json("vectors/grpo_loss.json");
    let inputs = &value["inputs"];
    let case_of = Case {
        width: 6,
        log_probs: numbers(&inputs["logps"]),
        old: numbers(&inputs["old"]),
        reference: numbers(&inputs["ref"]),
        entropies: numbers(&inputs["entropies"]),
        importance_weights: None,
        mask: numbers(&inputs["mask"]).into_iter().map(|bit| bit > 0.5).collect(),
        advantages: numbers(&inputs["adv"]),
    };
    let offered = |case: &&Value| case["loss_type"] != "sapo" && case["loss_type"] != "vespo";
    let cases: Vec<&Value> = value["cases"].as_array().unwrap().iter().filter(offered).collect();
    for case in &cases {
        let number = |field: &str| case[field].as_f64().unwrap();
        let config = PolicyConfig {
            loss_type: choice(&case["loss_type"]),
            importance_sampling_level: choice(&case["importance_sampling_level"]),
            epsilon: number("epsilon"),
            epsilon_high: number("epsilon_high"),
            delta: case["delta"].as_f64(),
            beta: number("beta"),
            use_bias_correction_kl: case["use_bias_correction_kl"].as_bool().unwrap(),
            top_entropy_quantile: number("top_entropy_quantile"),
            max_completion_length: number("max_completion_length") as usize,
            ..PolicyConfig::default()
        };
        let mut case_of = case_of.clone();
        case_of.importance_weights = case["vllm_is"].is_object().then(|| numbers(&case["vllm_is"]));
        let window =
            Window { accumulation: number("gradient_accumulation_steps") as usize, tokens: case_of.tokens() as f64 };
        let loss = policy_loss(&config, &case_of.batch(), window);
        assert_near(&[loss.loss], &[number("loss")], 1e-6, &format!("{config:?}"));
        assert_near(&loss.gradient, &numbers(&case["grad_logps"]), 1e-6, &format!("{config:?}"));
        let named = loss.metrics.named(&config);
        for (name, expected) in case["metrics"].as_object().unwrap() {
            let found = named.iter().find(|(own, _)| own == name).map(|(_, value)| *value).unwrap();
            assert_near(&[found], &[expected.as_f64().unwrap()], 1e-6, &format!("{name} of {config:?}"));
        }
    }
    assert_eq!(cases.len(), 22);
}

/// TRL's advantages of two rewards, some of them missing, and one completion without any.
#[test]
fn policy_fixture_advantages_of_trl() {
    let value = json("vectors/advantages.json");
    let rows: Vec<Vec<f64>> = value["rewards_per_func"].as_array().unwrap().iter().map(numbers).collect();
    let rewards: Vec<Vec<f64>> = (0..2).map(|index| rows.iter().map(|row| row[index]).collect()).collect();
    let cases = value["cases"].as_array().unwrap();
    for case in cases {
        let config = AdvantageConfig {
            group_size: value["num_generations"].as_u64().unwrap() as usize,
            scale_rewards: choice(&case["scale_rewards"]),
            multi_objective_aggregation: choice(&case["multi_objective_aggregation"]),
        };
        let found = super::super::advantages(&config, &rewards, &numbers(&value["reward_weights"]));
        assert_near(&found, &numbers(&case["advantages"]), 1e-6, &format!("{config:?}"));
    }
    assert_eq!(cases.len(), 4);
}

/// Numbers that were computed apart from any implementation here (float64).
#[test]
fn golden_losses_of_two_completions() {
    let case = Case {
        width: 3,
        log_probs: vec![-1.0, -0.5, -2.0, -0.7, 0.0, 0.0],
        old: vec![-1.3, -0.5, -1.6, -0.9, 0.0, 0.0],
        reference: vec![-1.1, -0.6, -1.8, -0.8, 0.0, 0.0],
        entropies: vec![0.0; 6],
        importance_weights: None,
        mask: vec![true, true, true, true, false, false],
        advantages: vec![0.707_006_795_326_683_4, -0.707_006_795_326_683_4],
    };
    let token = |loss_type, epsilon_high, beta| PolicyConfig {
        loss_type,
        epsilon_high,
        beta,
        max_completion_length: 4,
        ..PolicyConfig::default()
    };
    for (loss_type, symmetric, higher) in [
        (LossType::Grpo, 0.093_851_327_7, 0.084_120_638_1),
        (LossType::Bnpo, -0.291_089_781_7, -0.305_589_067_8),
        (LossType::Dapo, -0.291_089_781_7, -0.305_589_067_8),
        (LossType::DrGrpo, -0.145_544_890_9, -0.152_794_533_9),
    ] {
        assert_near(&[case.loss(&token(loss_type, 0.2, 0.04)).loss], &[symmetric], 1e-9, "epsilon 0.2");
        assert_near(&[case.loss(&token(loss_type, 0.28, 0.0)).loss], &[higher], 1e-9, "epsilon_high 0.28");
    }
    let mut turned = case.clone();
    turned.advantages.iter_mut().for_each(|advantage| *advantage = -*advantage);
    let sequence = |loss_type, epsilon, epsilon_high| PolicyConfig {
        importance_sampling_level: ImportanceSampling::Sequence,
        epsilon,
        ..token(loss_type, epsilon_high, 0.0)
    };
    assert_near(&[case.loss(&sequence(LossType::Grpo, 3e-4, 4e-4)).loss], &[0.089_855_847_1], 1e-9, "GSPO");
    for (epsilon, epsilon_high, expected) in
        [(3e-4, 4e-4, -0.000_247_452_4), (0.2, 0.2, -0.082_289_899_4), (0.2, 0.28, -0.089_855_847_1)]
    {
        let found = turned.loss(&sequence(LossType::Grpo, epsilon, epsilon_high)).loss;
        assert_near(&[found], &[expected], 1e-9, "GSPO turned");
    }
    assert_near(&[turned.loss(&sequence(LossType::DrGrpo, 0.2, 0.2)).loss], &[0.150_384_614], 1e-9, "by length");
}
