"""Gradient transformations for JAX that are values, keep their precision and say what they do."""

from typing import TYPE_CHECKING, NoReturn

from .core.lazy import lazy as _lazy

if TYPE_CHECKING or not _lazy(__name__):
    from . import arguments as arguments
    from . import decays as decays
    from . import rules as rules
    from . import schedules as schedules
    from . import storage as storage
    from . import wrappers as wrappers
    from .averaging.asgd import asgd as asgd
    from .averaging.average import average as average
    from .averaging.ema_nesterov import ema_nesterov as ema_nesterov
    from .averaging.eval_params import eval_params as eval_params
    from .averaging.gpa import gpa as gpa
    from .averaging.lookahead import lookahead as lookahead
    from .averaging.schedule_free import schedule_free as schedule_free
    from .averaging.schedule_free_adamw import schedule_free_adamw as schedule_free_adamw
    from .averaging.schedule_free_radam import schedule_free_radam as schedule_free_radam
    from .averaging.schedule_free_sgd import schedule_free_sgd as schedule_free_sgd
    from .clips.adaptive_grad_clip import adaptive_grad_clip as adaptive_grad_clip
    from .clips.clip import clip as clip
    from .clips.clip_by_block_rms import clip_by_block_rms as clip_by_block_rms
    from .clips.clip_by_block_rms import clip_update_rms as clip_update_rms
    from .clips.clip_by_ema import clip_by_ema as clip_by_ema
    from .clips.clip_by_global_norm import clip_by_global_norm as clip_by_global_norm
    from .clips.clip_by_norm import clip_by_norm as clip_by_norm
    from .clips.clip_by_percentile import clip_by_percentile as clip_by_percentile
    from .clips.clip_by_zscore import clip_by_zscore as clip_by_zscore
    from .clips.clip_spikes import clip_spikes as clip_spikes
    from .core.chain import chain as chain
    from .core.chain import identity as identity
    from .core.convert_state import convert_state as convert_state
    from .core.masked import masked as masked
    from .core.metrics import current_lr as current_lr
    from .core.metrics import metrics as metrics
    from .core.one_pass import enable_cpu_multi_output_fusion as enable_cpu_multi_output_fusion
    from .core.optimizer import descend as descend
    from .core.optimizer import lift as lift
    from .core.optimizer import optimizer as optimizer
    from .core.paper import Paper as Paper
    from .core.partition import partition as partition
    from .core.partition import reset_group as reset_group
    from .core.rule import Accumulator as Accumulator
    from .core.rule import Clock as Clock
    from .core.rule import Divisor as Divisor
    from .core.rule import Exact as Exact
    from .core.rule import Rule as Rule
    from .core.rule import Signed as Signed
    from .core.rule import rule as rule
    from .core.step import apply_updates as apply_updates
    from .core.step import step as step
    from .core.transformation import GradientTransformation as GradientTransformation
    from .core.transformation import transformation as transformation
    from .core.with_rate import with_rate as with_rate
    from .core.with_storage import with_storage as with_storage
    from .math.global_norm import global_norm as global_norm
    from .monitoring.angular_velocity import angular_velocity as angular_velocity
    from .monitoring.describe import Description as Description
    from .monitoring.describe import describe as describe
    from .monitoring.diagnose_init import diagnose_init as diagnose_init
    from .monitoring.health import Health as Health
    from .monitoring.health import health as health
    from .monitoring.monitor import monitor as monitor
    from .monitoring.thresholds import Thresholds as Thresholds
    from .optimizers.adabelief import adabelief as adabelief
    from .optimizers.adabelief import scale_by_belief as scale_by_belief
    from .optimizers.adadelta import adadelta as adadelta
    from .optimizers.adadelta import scale_by_adadelta as scale_by_adadelta
    from .optimizers.adafactor import adafactor as adafactor
    from .optimizers.adagrad import adagrad as adagrad
    from .optimizers.adagrad import scale_by_rss as scale_by_rss
    from .optimizers.adam import adam as adam
    from .optimizers.adam_mini import adam_mini as adam_mini
    from .optimizers.adamax import adamax as adamax
    from .optimizers.adamax import adamaxw as adamaxw
    from .optimizers.adamuon import adamuon as adamuon
    from .optimizers.adamw import adamw as adamw
    from .optimizers.adan import adan as adan
    from .optimizers.ademamix import ademamix as ademamix
    from .optimizers.adopt import adopt as adopt
    from .optimizers.amsgrad import amsgrad as amsgrad
    from .optimizers.came import came as came
    from .optimizers.dion2 import dion2 as dion2
    from .optimizers.fromage import fromage as fromage
    from .optimizers.ftrl import ftrl as ftrl
    from .optimizers.galore import galore as galore
    from .optimizers.kl_shampoo import kl_shampoo as kl_shampoo
    from .optimizers.kron import kron as kron
    from .optimizers.lamb import lamb as lamb
    from .optimizers.laprop import laprop as laprop
    from .optimizers.lars import lars as lars
    from .optimizers.lion import lion as lion
    from .optimizers.lion import scale_by_lion as scale_by_lion
    from .optimizers.madgrad import madgrad as madgrad
    from .optimizers.muon import muon as muon
    from .optimizers.nadam import nadam as nadam
    from .optimizers.nadamw import nadamw as nadamw
    from .optimizers.nanochat_muon import nanochat_muon as nanochat_muon
    from .optimizers.noisy_sgd import noisy_sgd as noisy_sgd
    from .optimizers.normuon import normuon as normuon
    from .optimizers.novograd import novograd as novograd
    from .optimizers.optimistic_gradient_descent import optimistic_adam_v2 as optimistic_adam_v2
    from .optimizers.optimistic_gradient_descent import (
        optimistic_gradient_descent as optimistic_gradient_descent,
    )
    from .optimizers.polargrad import polargrad as polargrad
    from .optimizers.radam import radam as radam
    from .optimizers.rmsprop import rmsprop as rmsprop
    from .optimizers.rprop import rprop as rprop
    from .optimizers.scale_by_adam import scale_by_adam as scale_by_adam
    from .optimizers.scale_by_adamax import scale_by_adamax as scale_by_adamax
    from .optimizers.scale_by_adan import scale_by_adan as scale_by_adan
    from .optimizers.scale_by_ademamix import scale_by_ademamix as scale_by_ademamix
    from .optimizers.scale_by_adopt import scale_by_adopt as scale_by_adopt
    from .optimizers.scale_by_amsgrad import scale_by_amsgrad as scale_by_amsgrad
    from .optimizers.scale_by_factored_rms import scale_by_factored_rms as scale_by_factored_rms
    from .optimizers.scale_by_optimistic_gradient import (
        scale_by_optimistic_gradient as scale_by_optimistic_gradient,
    )
    from .optimizers.scale_by_radam import scale_by_radam as scale_by_radam
    from .optimizers.scale_by_rms import Rms as Rms
    from .optimizers.scale_by_rms import scale_by_rms as scale_by_rms
    from .optimizers.scale_by_simplified_ademamix import (
        scale_by_simplified_ademamix as scale_by_simplified_ademamix,
    )
    from .optimizers.scale_by_sophia import scale_by_sophia as scale_by_sophia
    from .optimizers.scale_by_stddev import CenteredRms as CenteredRms
    from .optimizers.scale_by_stddev import scale_by_stddev as scale_by_stddev
    from .optimizers.scion import scion as scion
    from .optimizers.sgd import Momentum as Momentum
    from .optimizers.sgd import sgd as sgd
    from .optimizers.sgd import trace as trace
    from .optimizers.shampoo import shampoo as shampoo
    from .optimizers.sign_sgd import scale_by_sign as scale_by_sign
    from .optimizers.sign_sgd import sign_sgd as sign_sgd
    from .optimizers.signum import signum as signum
    from .optimizers.simplified_ademamix import simplified_ademamix as simplified_ademamix
    from .optimizers.sm3 import sm3 as sm3
    from .optimizers.soap import soap as soap
    from .optimizers.sophia import sophia as sophia
    from .optimizers.spam import spam as spam
    from .optimizers.splus import splus as splus
    from .optimizers.stable_adamw import stable_adamw as stable_adamw
    from .optimizers.stable_spam import stable_spam as stable_spam
    from .optimizers.yogi import yogi as yogi
    from .rate_free.cocob import cocob as cocob
    from .rate_free.dadapt_adagrad import dadapt_adagrad as dadapt_adagrad
    from .rate_free.dadapt_adamw import dadapt_adamw as dadapt_adamw
    from .rate_free.dadapt_sgd import dadapt_sgd as dadapt_sgd
    from .rate_free.dog import dog as dog
    from .rate_free.dowg import dowg as dowg
    from .rate_free.hypergradient import hypergradient as hypergradient
    from .rate_free.mechanize import mechanize as mechanize
    from .rate_free.momo import momo as momo
    from .rate_free.momo_adam import momo_adam as momo_adam
    from .rate_free.polyak_sgd import polyak_sgd as polyak_sgd
    from .rate_free.prodigy import prodigy as prodigy
    from .safety.accumulate import accumulate as accumulate
    from .safety.flush import flush as flush
    from .safety.guard import guard as guard
    from .safety.guard import skip_nonfinite as skip_nonfinite
    from .safety.loss_scale import current_loss_scale as current_loss_scale
    from .safety.loss_scale import loss_scale as loss_scale
    from .safety.loss_scale import scale_loss as scale_loss
    from .safety.microbatched import microbatched as microbatched
    from .safety.rollback import rollback as rollback
    from .schedules import Schedule as Schedule
    from .schedules import chebyshev_schedule as chebyshev_schedule
    from .schedules import constant_schedule as constant_schedule
    from .schedules import cooldown_on_plateau as cooldown_on_plateau
    from .schedules import cosine_decay_schedule as cosine_decay_schedule
    from .schedules import cosine_onecycle_schedule as cosine_onecycle_schedule
    from .schedules import cosine_restarts as cosine_restarts
    from .schedules import cosine_wave as cosine_wave
    from .schedules import cyclic_schedule as cyclic_schedule
    from .schedules import exponential_decay as exponential_decay
    from .schedules import inverse_sqrt_schedule as inverse_sqrt_schedule
    from .schedules import inverse_time_decay as inverse_time_decay
    from .schedules import join_schedules as join_schedules
    from .schedules import knee_schedule as knee_schedule
    from .schedules import linear_onecycle_schedule as linear_onecycle_schedule
    from .schedules import linear_schedule as linear_schedule
    from .schedules import linear_to_zero as linear_to_zero
    from .schedules import linear_warmup as linear_warmup
    from .schedules import multistep_decay as multistep_decay
    from .schedules import noam_schedule as noam_schedule
    from .schedules import on_abel as on_abel
    from .schedules import on_autodrop as on_autodrop
    from .schedules import on_bold_driver as on_bold_driver
    from .schedules import on_greedy as on_greedy
    from .schedules import on_newbob as on_newbob
    from .schedules import on_plateau as on_plateau
    from .schedules import onecycle_schedule as onecycle_schedule
    from .schedules import piecewise_constant_schedule as piecewise_constant_schedule
    from .schedules import piecewise_interpolate_schedule as piecewise_interpolate_schedule
    from .schedules import polynomial_schedule as polynomial_schedule
    from .schedules import power_schedule as power_schedule
    from .schedules import rex_schedule as rex_schedule
    from .schedules import schedule as schedule
    from .schedules import schedule_from_points as schedule_from_points
    from .schedules import sgdr_schedule as sgdr_schedule
    from .schedules import step_decay as step_decay
    from .schedules import tanh_schedule as tanh_schedule
    from .schedules import warmup as warmup
    from .schedules import warmup_constant_schedule as warmup_constant_schedule
    from .schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
    from .schedules import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
    from .schedules import warmup_stable_decay as warmup_stable_decay
    from .sharding.offload import offload as offload
    from .sharding.state_shardings import state_shardings as state_shardings
    from .transforms.add_decayed_weights import Decay as Decay
    from .transforms.add_decayed_weights import add_decayed_weights as add_decayed_weights
    from .transforms.add_noise import add_noise as add_noise
    from .transforms.cautious import cautious as cautious
    from .transforms.centralize import centralize as centralize
    from .transforms.chunked import chunked as chunked
    from .transforms.gauss_newton_bartlett_diagonal import (
        gauss_newton_bartlett_diagonal as gauss_newton_bartlett_diagonal,
    )
    from .transforms.grokfast import grokfast as grokfast
    from .transforms.hutchinson_diagonal import hutchinson_diagonal as hutchinson_diagonal
    from .transforms.hyperball import hyperball as hyperball
    from .transforms.keep_params_nonnegative import (
        keep_params_nonnegative as keep_params_nonnegative,
    )
    from .transforms.layerwise_decay import layerwise_decay as layerwise_decay
    from .transforms.mars import mars as mars
    from .transforms.mup import mup as mup
    from .transforms.normalize_by_update_norm import (
        normalize_by_update_norm as normalize_by_update_norm,
    )
    from .transforms.orthograd import orthograd as orthograd
    from .transforms.project import project as project
    from .transforms.qk_clip import qk_clip as qk_clip
    from .transforms.relative_updates import relative_updates as relative_updates
    from .transforms.sam_gradient import sam_gradient as sam_gradient
    from .transforms.scale import scale as scale
    from .transforms.scale import scale_by_learning_rate as scale_by_learning_rate
    from .transforms.scale_by_path import scale_by_path as scale_by_path
    from .transforms.scale_by_trust_ratio import scale_by_trust_ratio as scale_by_trust_ratio
    from .transforms.zero_nans import zero_nans as zero_nans
    from .weights.kahan import kahan as kahan
    from .weights.master_weights import master_weights as master_weights
    from .weights.stochastic_rounding import stochastic_rounding as stochastic_rounding

__version__ = "0.1.0"

__all__ = [
    "Accumulator",
    "CenteredRms",
    "Clock",
    "Decay",
    "Description",
    "Divisor",
    "Exact",
    "GradientTransformation",
    "Health",
    "Momentum",
    "Paper",
    "Rms",
    "Rule",
    "Schedule",
    "Signed",
    "Thresholds",
    "accumulate",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adam_mini",
    "adamax",
    "adamaxw",
    "adamuon",
    "adamw",
    "adan",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "ademamix",
    "adopt",
    "amsgrad",
    "angular_velocity",
    "apply_updates",
    "arguments",
    "asgd",
    "average",
    "came",
    "cautious",
    "centralize",
    "chain",
    "chebyshev_schedule",
    "chunked",
    "clip",
    "clip_by_block_rms",
    "clip_by_ema",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_percentile",
    "clip_by_zscore",
    "clip_spikes",
    "clip_update_rms",
    "cocob",
    "constant_schedule",
    "convert_state",
    "cooldown_on_plateau",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_restarts",
    "cosine_wave",
    "current_loss_scale",
    "current_lr",
    "cyclic_schedule",
    "dadapt_adagrad",
    "dadapt_adamw",
    "dadapt_sgd",
    "decays",
    "descend",
    "describe",
    "diagnose_init",
    "dion2",
    "dog",
    "dowg",
    "ema_nesterov",
    "enable_cpu_multi_output_fusion",
    "eval_params",
    "exponential_decay",
    "flush",
    "fromage",
    "ftrl",
    "galore",
    "gauss_newton_bartlett_diagonal",
    "global_norm",
    "gpa",
    "grokfast",
    "guard",
    "health",
    "hutchinson_diagonal",
    "hyperball",
    "hypergradient",
    "identity",
    "inverse_sqrt_schedule",
    "inverse_time_decay",
    "join_schedules",
    "kahan",
    "keep_params_nonnegative",
    "kl_shampoo",
    "knee_schedule",
    "kron",
    "lamb",
    "laprop",
    "lars",
    "layerwise_decay",
    "lift",
    "linear_onecycle_schedule",
    "linear_schedule",
    "linear_to_zero",
    "linear_warmup",
    "lion",
    "lookahead",
    "loss_scale",
    "madgrad",
    "mars",
    "masked",
    "master_weights",
    "mechanize",
    "metrics",
    "microbatched",
    "momo",
    "momo_adam",
    "monitor",
    "multistep_decay",
    "muon",
    "mup",
    "nadam",
    "nadamw",
    "nanochat_muon",
    "noam_schedule",
    "noisy_sgd",
    "normalize_by_update_norm",
    "normuon",
    "novograd",
    "offload",
    "on_abel",
    "on_autodrop",
    "on_bold_driver",
    "on_greedy",
    "on_newbob",
    "on_plateau",
    "onecycle_schedule",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "optimizer",
    "orthograd",
    "partition",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polargrad",
    "polyak_sgd",
    "polynomial_schedule",
    "power_schedule",
    "prodigy",
    "project",
    "qk_clip",
    "radam",
    "relative_updates",
    "reset_group",
    "rex_schedule",
    "rmsprop",
    "rollback",
    "rprop",
    "rule",
    "rules",
    "sam_gradient",
    "scale",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_belief",
    "scale_by_factored_rms",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_optimistic_gradient",
    "scale_by_path",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_sign",
    "scale_by_simplified_ademamix",
    "scale_by_sophia",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "scale_loss",
    "schedule",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_radam",
    "schedule_free_sgd",
    "schedule_from_points",
    "schedules",
    "scion",
    "sgd",
    "sgdr_schedule",
    "shampoo",
    "sign_sgd",
    "signum",
    "simplified_ademamix",
    "skip_nonfinite",
    "sm3",
    "soap",
    "sophia",
    "spam",
    "splus",
    "stable_adamw",
    "stable_spam",
    "state_shardings",
    "step",
    "step_decay",
    "stochastic_rounding",
    "storage",
    "tanh_schedule",
    "trace",
    "transformation",
    "warmup",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay",
    "with_rate",
    "with_storage",
    "wrappers",
    "yogi",
    "zero_nans",
]


def _missing(name: str) -> NoReturn:
    from . import rules, schedules, wrappers

    for place in (rules, schedules, wrappers):
        if name in place.__all__:
            found = f"{place.__name__}.{name}"
            raise AttributeError(f"{name} is not in funcopt itself: it is {found}.")
    if name == "where":
        raise AttributeError("funcopt.where is called funcopt.masked.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
