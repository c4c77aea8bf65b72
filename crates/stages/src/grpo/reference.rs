//! The reference policy: what it is, and how it follows the policy where it does (TR-DPO, arXiv:2404.09656).

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use gazal_lm::Decoder;

use super::Params;
use super::params::Reference;
use super::replicas::Replicas;

/// The reference of a policy before its first step; none where the loss has no KL.
pub fn of(params: &Params, policy: &Replicas) -> Option<Replicas> {
    let has_kl = params.policy_config().beta > 0.0;
    has_kl.then(|| match params.reference {
        Reference::Adapter => policy.map(Decoder::clone),
        Reference::Base => policy.map(Decoder::without_adapters),
    })
}

/// `π_ref ← α·π + (1 − α)·π_ref`, parameter by parameter of those that train, every `ref_model_sync_steps` steps.
pub fn follow(params: &Params, reference: Option<&mut Replicas>, policy: &Replicas, done: u64) {
    let Some(reference) = reference.filter(|_| params.sync_ref_model) else { return };
    if !done.is_multiple_of(params.ref_model_sync_steps) {
        return;
    }
    let mut present: BTreeMap<String, Tensor<1>> = BTreeMap::new();
    policy.decoder.clone().visit_trainable(policy.trainable, &mut |name, slot| {
        present.insert(name.to_string(), slot.flat());
    });
    let alpha = params.ref_model_mixup_alpha;
    reference.decoder.visit_trainable(policy.trainable, &mut |name, mut slot| {
        if let Some(new) = present.remove(name) {
            slot.set_flat(slot.flat().mul_scalar(1.0 - alpha) + new.mul_scalar(alpha));
        }
    });
    reference.decoder.refresh_norms();
    reference.changed();
}
