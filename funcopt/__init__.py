"""Gradient transformations for JAX that are values, keep their precision and say what they do."""

from . import schedules as schedules
from . import storage as storage
from . import value as value
from .health.initial import diagnose_init as diagnose_init
from .health.monitor import monitor as monitor
from .health.report import Health as Health
from .health.report import health as health
from .health.verdicts import Thresholds as Thresholds
from .lift import where as where
from .optimizer import Descend as Descend
from .optimizer import descend as descend
from .optimizer import lift as lift
from .optimizer import optimizer as optimizer
from .rate import with_rate as with_rate
from .rule import Accumulator as Accumulator
from .rule import Clock as Clock
from .rule import Divisor as Divisor
from .rule import Exact as Exact
from .rule import Rule as Rule
from .rule import Signed as Signed
from .rule import rule as rule
from .rules.adadelta import Adadelta as Adadelta
from .rules.adadelta import adadelta as adadelta
from .rules.adadelta import scale_by_adadelta as scale_by_adadelta
from .rules.adagrad import Adagrad as Adagrad
from .rules.adagrad import adagrad as adagrad
from .rules.adagrad import scale_by_rss as scale_by_rss
from .rules.adam import Adam as Adam
from .rules.adam import adam as adam
from .rules.adam import adamw as adamw
from .rules.adam import scale_by_adam as scale_by_adam
from .rules.adamax import Adamax as Adamax
from .rules.adamax import adamax as adamax
from .rules.adamax import scale_by_adamax as scale_by_adamax
from .rules.amsgrad import Amsgrad as Amsgrad
from .rules.amsgrad import amsgrad as amsgrad
from .rules.amsgrad import scale_by_amsgrad as scale_by_amsgrad
from .rules.centralize import Centralize as Centralize
from .rules.centralize import centralize as centralize
from .rules.cocob import Cocob as Cocob
from .rules.cocob import cocob as cocob
from .rules.decay import Decay as Decay
from .rules.decay import add_decayed_weights as add_decayed_weights
from .rules.lion import Lion as Lion
from .rules.lion import lion as lion
from .rules.lion import scale_by_lion as scale_by_lion
from .rules.nadam import Nadam as Nadam
from .rules.nadam import nadam as nadam
from .rules.nadam import nadamw as nadamw
from .rules.rmsprop import CenteredRms as CenteredRms
from .rules.rmsprop import Rms as Rms
from .rules.rmsprop import rmsprop as rmsprop
from .rules.rmsprop import scale_by_rms as scale_by_rms
from .rules.rmsprop import scale_by_stddev as scale_by_stddev
from .rules.scale import Clip as Clip
from .rules.scale import Scale as Scale
from .rules.scale import scale as scale
from .rules.scale import scale_by_learning_rate as scale_by_learning_rate
from .rules.sgd import Momentum as Momentum
from .rules.sgd import sgd as sgd
from .rules.sgd import trace as trace
from .rules.spam import Spam as Spam
from .rules.spam import spam as spam
from .schedules import Schedule as Schedule
from .schedules import chebyshev_schedule as chebyshev_schedule
from .schedules import clipped as clipped
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
from .schedules import product as product
from .schedules import rex_schedule as rex_schedule
from .schedules import schedule as schedule
from .schedules import schedule_from_points as schedule_from_points
from .schedules import sgdr_schedule as sgdr_schedule
from .schedules import shifted as shifted
from .schedules import step_decay as step_decay
from .schedules import tanh_schedule as tanh_schedule
from .schedules import total as total
from .schedules import warmup as warmup
from .schedules import warmup_constant_schedule as warmup_constant_schedule
from .schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from .schedules import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
from .schedules import warmup_stable_decay as warmup_stable_decay
from .sharding.state_shardings import state_shardings as state_shardings
from .signatures import readable_functions
from .transformation import GradientTransformation as GradientTransformation
from .transformation import apply_updates as apply_updates
from .transformation import chain as chain
from .transformation import current_lr as current_lr
from .transformation import identity as identity
from .transformation import metrics as metrics
from .transformation import step as step
from .transformation import transformation as transformation
from .tree.adagc import clip_by_ema as clip_by_ema
from .tree.agc import adaptive_grad_clip as adaptive_grad_clip
from .tree.angular_velocity import angular_velocity as angular_velocity
from .tree.autoclip import clip_by_percentile as clip_by_percentile
from .tree.clip import clip as clip
from .tree.clip_by_block_rms import clip_by_block_rms as clip_by_block_rms
from .tree.clip_by_block_rms import clip_update_rms as clip_update_rms
from .tree.clip_by_norm import clip_by_norm as clip_by_norm
from .tree.dadapt_adagrad import dadapt_adagrad as dadapt_adagrad
from .tree.dadapt_adamw import dadapt_adamw as dadapt_adamw
from .tree.dadapt_sgd import dadapt_sgd as dadapt_sgd
from .tree.dog import dog as dog
from .tree.dowg import dowg as dowg
from .tree.global_clip import clip_by_global_norm as clip_by_global_norm
from .tree.momo import momo as momo
from .tree.momo_adam import momo_adam as momo_adam
from .tree.noise import add_noise as add_noise
from .tree.norm import global_norm as global_norm
from .tree.normalize import normalize_by_update_norm as normalize_by_update_norm
from .tree.polyak import polyak_sgd as polyak_sgd
from .tree.prodigy import prodigy as prodigy
from .tree.spike_clip import clip_spikes as clip_spikes
from .tree.stable_adamw import stable_adamw as stable_adamw
from .tree.stable_spam import stable_spam as stable_spam
from .tree.zclip import clip_by_zscore as clip_by_zscore
from .wrappers.accumulate import accumulate as accumulate
from .wrappers.evaluation import eval_params as eval_params
from .wrappers.flush import flush as flush
from .wrappers.guard import guard as guard
from .wrappers.guard import skip_nonfinite as skip_nonfinite
from .wrappers.hypergradient import hypergradient as hypergradient
from .wrappers.loss_scale import current_loss_scale as current_loss_scale
from .wrappers.loss_scale import loss_scale as loss_scale
from .wrappers.loss_scale import scale_loss as scale_loss
from .wrappers.mechanic import mechanize as mechanize
from .wrappers.microbatched import microbatched as microbatched
from .wrappers.partition import partition as partition
from .wrappers.rollback import rollback as rollback
from .wrappers.schedule_free import schedule_free as schedule_free
from .wrappers.schedule_free_adamw import schedule_free_adamw as schedule_free_adamw
from .wrappers.schedule_free_radam import schedule_free_radam as schedule_free_radam
from .wrappers.schedule_free_sgd import schedule_free_sgd as schedule_free_sgd

__version__ = "0.1.0"

__all__ = [
    "Accumulator",
    "Adadelta",
    "Adagrad",
    "Adam",
    "Adamax",
    "Amsgrad",
    "CenteredRms",
    "Centralize",
    "Clip",
    "Clock",
    "Cocob",
    "Decay",
    "Descend",
    "Divisor",
    "Exact",
    "GradientTransformation",
    "Health",
    "Lion",
    "Momentum",
    "Nadam",
    "Rms",
    "Rule",
    "Scale",
    "Schedule",
    "Signed",
    "Spam",
    "Thresholds",
    "accumulate",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "amsgrad",
    "angular_velocity",
    "apply_updates",
    "centralize",
    "chain",
    "chebyshev_schedule",
    "clip",
    "clip_by_block_rms",
    "clip_by_ema",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_percentile",
    "clip_by_zscore",
    "clip_spikes",
    "clip_update_rms",
    "clipped",
    "cocob",
    "constant_schedule",
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
    "descend",
    "diagnose_init",
    "dog",
    "dowg",
    "eval_params",
    "exponential_decay",
    "flush",
    "global_norm",
    "guard",
    "health",
    "hypergradient",
    "identity",
    "inverse_sqrt_schedule",
    "inverse_time_decay",
    "join_schedules",
    "knee_schedule",
    "lift",
    "linear_onecycle_schedule",
    "linear_schedule",
    "linear_to_zero",
    "linear_warmup",
    "lion",
    "loss_scale",
    "mechanize",
    "metrics",
    "microbatched",
    "momo",
    "momo_adam",
    "monitor",
    "multistep_decay",
    "nadam",
    "nadamw",
    "noam_schedule",
    "normalize_by_update_norm",
    "on_abel",
    "on_autodrop",
    "on_bold_driver",
    "on_greedy",
    "on_newbob",
    "on_plateau",
    "onecycle_schedule",
    "optimizer",
    "partition",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polyak_sgd",
    "polynomial_schedule",
    "power_schedule",
    "prodigy",
    "product",
    "rex_schedule",
    "rmsprop",
    "rollback",
    "rule",
    "scale",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_amsgrad",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_stddev",
    "scale_loss",
    "schedule",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_radam",
    "schedule_free_sgd",
    "schedule_from_points",
    "schedules",
    "sgd",
    "sgdr_schedule",
    "shifted",
    "skip_nonfinite",
    "spam",
    "stable_adamw",
    "stable_spam",
    "state_shardings",
    "step",
    "step_decay",
    "storage",
    "tanh_schedule",
    "total",
    "trace",
    "transformation",
    "value",
    "warmup",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay",
    "where",
    "with_rate",
]

readable_functions(globals())
