"""The training loop."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from dataclasses import asdict

import paddle
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from instseg_rt.official_weights import find_weights

from ..config import Config, dataset_folder, to_yaml
from ..data import Batch, CocoDataset, DataLoader
from ..errors import CheckpointError, ConfigError
from ..files import write_text
from ..models import build_model
from ..weights import load_weights, read_pdparams
from .checkpoint import Checkpoint, TrainingState, save_checkpoint
from .curves import draw_curves
from .distributed import join_world
from .early_stop import EarlyStop
from .ema import ModelEMA
from .evaluate import evaluate_model
from .freeze import apply_freezing
from .inputs import misses_evaluation_size, pad_stride, sized_input, training_steps
from .interrupt import Interrupt
from .log import TrainingLog
from .optimizer import build_optimizer
from .precision import Precision
from .resume import check_optimizer, load_resumed, output_folder
from .saved_models import BEST, Evaluated, drop_epochs_after, remove_leftovers, save_evaluated
from .schedule import build_schedule
from .step import TrainingStep
from .train_result import TrainingResult, write_train_result

_EPOCH_END_SHARE = 0.5
"""An epoch's end writes a checkpoint too where this part of the interval between two has passed: small data sets would
write all the time."""
_FREE_KEYS = (
    "workers",
    "checkpoint_interval",
    "evaluation_batch_size",
    "bundle",
    "static_graph",
    "kept_epochs",
    "event_log",
    "early_stop",
)
"""Of the recipe: what may change when a training is resumed."""
_CURVES_EVERY = 60.0
"""Seconds between two drawings of the curves during a training."""


class Trainer:
    """Trains what `config` says and leaves in its output folder: `best_model/` and `epoch_<n>/` (see `saved_models`),
    `checkpoints/`, `config.yaml`, `categories.json`,
    `train.log`, `metrics.jsonl`, `curves.png` and `train_result.json`.

    With `Train.resume_path` a training goes on from its newest checkpoint or from an epoch, on the same curve as if it
    had never stopped.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.world = join_world()
        train, recipe = config.Train, config.Recipe
        dataset_dir = dataset_folder(config)
        self.train_set = CocoDataset(dataset_dir)
        self.val_set = CocoDataset(
            dataset_dir,
            "annotations/instance_val.json",
            allow_empty=True,
            categories=self.train_set.categories,
        )
        num_classes = len(self.train_set.categories)
        for key, value in (
            ("Train.epochs_iters", train.epochs_iters),
            ("Train.batch_size", train.batch_size),
            ("Recipe.accumulate", recipe.accumulate),
        ):
            if value < 1:
                raise ConfigError(f"{key}: expected a number from 1, found {value}")
        if train.num_classes is not None and train.num_classes != num_classes:
            raise ConfigError(
                f"Train.num_classes: {train.num_classes}, but {self.train_set.annotation_file} has "
                f"{num_classes} categories"
            )
        paddle.seed(recipe.seed)
        with paddle.utils.unique_name.guard():
            self.model = build_model(config.Global.model, num_classes)
            apply_freezing(self.model, recipe.freeze, recipe.unfreeze)
            self.optimizer = build_optimizer(recipe.optimizer, self.model, train.learning_rate)
        self.input_spec = sized_input(self.model.input_spec, recipe.image_size)
        self.steps = training_steps(recipe.augmentation, self.input_spec)
        self.loader = DataLoader(
            self.train_set,
            self.steps,
            batch_size=train.batch_size * recipe.accumulate,
            seed=recipe.seed,
            num_workers=recipe.workers,
            mask_stride=self.model.mask_stride,
            pad_stride=pad_stride(self.input_spec),
            keep_segments=self.model.needs_segments,
            normalization=self.input_spec.normalization,
            rank=self.world.rank,
            ranks=self.world.size,
        )
        iterations = len(self.loader)
        self.schedule = build_schedule(
            recipe.schedule, train.learning_rate, train.warmup_steps, train.epochs_iters, iterations
        )
        self.early_stop = EarlyStop.from_config(recipe.early_stop)
        self.precision = Precision(recipe.amp)
        self._take_step = TrainingStep(
            self.model, self.optimizer, self.world, self.precision, accumulate=recipe.accumulate, seed=recipe.seed
        )
        self.output = output_folder(config)
        self.state = TrainingState(0, 0, -1.0, -1, iterations, self._fingerprint())
        self._last_saved = 0
        self._curves_drawn = time.monotonic()

    def run(self) -> TrainingResult:
        """Trains to the end. Ctrl-C leaves a checkpoint behind and raises KeyboardInterrupt; several processes, which
        would have to stop at the same iteration, leave the last one behind.
        """
        # The optimizer's state goes by names that Paddle counts up: they must come out the same when a training is
        # resumed.
        with paddle.utils.unique_name.guard(), warnings.catch_warnings():
            # Paddle's norms say so in every training.
            warnings.filterwarnings("ignore", "When training, we now always track global mean and variance")
            return self._run()

    def _run(self) -> TrainingResult:
        config, train = self.config, self.config.Train
        checkpoint = load_resumed(config, self.state)
        self.output.mkdir(parents=True, exist_ok=True)
        if self.world.is_main:
            remove_leftovers(self.output)
            self._describe()
        resume_at = checkpoint.state.iteration if checkpoint else None
        events = config.Recipe.event_log == "tensorboard"
        with TrainingLog(self.output, resume_at, not self.world.is_main, events) as log, self.loader:
            if checkpoint is None and train.pretrain_weight_path:
                arrays = read_pdparams(find_weights(train.pretrain_weight_path, config.Global.model, log.say))
                report = load_weights(
                    self.model, arrays, source=train.pretrain_weight_path, strict=False, any_classes=True
                )
                log.say(f"{train.pretrain_weight_path}: {report.summary()}")
            recipe = config.Recipe
            ema = ModelEMA(self.model, recipe.ema_decay, recipe.ema_decay_type) if recipe.use_ema else None
            if checkpoint is not None:
                self._restore(checkpoint, ema)
                log.say(f"resumed {train.resume_path} at iteration {self.state.iteration}")
            self.world.broadcast_weights(list(self.model.state_dict().values()))
            self._introduce(log)
            if self.world.is_main:
                drop_epochs_after(self.output, self.state.iteration // self.state.iterations_per_epoch)
            self._write_result()
            final_loss = self._loop(log, ema)
            if self.world.is_main:
                draw_curves(self.output, config.Global.model)
        return self._write_result(final_loss, done=True)

    def _write_result(self, final_loss: float | None = None, done: bool = False) -> TrainingResult:
        result = TrainingResult(
            self.state.best_ap,
            self.state.best_epoch,
            final_loss,
            self.state.iteration,
            self.output / BEST / f"{BEST}.pdparams",
        )
        # Only the main process evaluates and writes.
        if self.world.is_main:
            write_train_result(self.output, self.config.Global.model, result, done=done)
        return result

    def _describe(self) -> None:
        write_text(self.output / "config.yaml", to_yaml(self.config))
        categories = [{"id": category.id, "name": category.label} for category in self.train_set.categories]
        write_text(self.output / "categories.json", json.dumps(categories, ensure_ascii=False, indent=1) + "\n")

    def _introduce(self, log: TrainingLog) -> None:
        """Says what is trained, on what."""
        learning = [p for p in self.model.parameters() if not p.stop_gradient]
        log.say(
            f"{self.config.Global.model}: {sum(p.size for p in learning) / 1e6:.2f} million numbers in {len(learning)} "
            f"tensors to train, of {sum(p.size for p in self.model.parameters()) / 1e6:.2f} million"
        )
        log.say(f"train: {self.train_set.summary()}")
        val = self.val_set.summary()
        log.say(f"val: {val}")
        if not val.instances:
            log.say("note: val has no instance: there is no mask AP (-1), and the newest weights count as the best")
        if misses_evaluation_size(self.steps, self.input_spec):
            log.say(
                f"note: the sizes in Recipe.augmentation leave out {self.input_spec.height}x{self.input_spec.width}, "
                "the size that is evaluated"
            )

    def _loop(self, log: TrainingLog, ema: ModelEMA | None) -> float:
        train, per_epoch = self.config.Train, len(self.loader)
        loss = log.last_loss
        first_epoch, start = divmod(self.state.iteration, per_epoch)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        alone = self.world.size == 1
        with Interrupt(alone) as interrupt, Progress(*columns, console=log.console, transient=True) as progress:
            bar = progress.add_task("train", total=train.epochs_iters * per_epoch, completed=self.state.iteration)
            # A training that had stopped early has nothing left to do.
            for epoch in range(first_epoch, first_epoch if self.early_stop.reached else train.epochs_iters):
                self.model.train()
                ready = time.perf_counter()
                for batch in self.loader.epoch(epoch, start if epoch == first_epoch else 0):
                    begin = time.perf_counter()
                    losses = self._step(batch)
                    if ema is not None and self.world.is_main:
                        ema.update()
                    self.state.iteration += 1
                    loss = losses["loss"]
                    end = time.perf_counter()
                    log.iteration(
                        self.state.iteration,
                        epoch,
                        self.optimizer.get_lr(),
                        losses,
                        data_s=begin - ready,
                        compute_s=end - begin,
                        images=len(batch),
                        shown=self.state.iteration % train.log_interval == 0,
                    )
                    progress.update(
                        bar,
                        completed=self.state.iteration,
                        description=f"epoch {epoch + 1}/{train.epochs_iters} loss {loss:.3f}",
                    )
                    # An epoch's last iteration is not saved before its evaluation: a resumed training would skip that.
                    if self.state.iteration % per_epoch:
                        if interrupt.asked or self._unsaved() >= self.config.Recipe.checkpoint_interval:
                            self._save(ema)
                        self._stop_where(interrupt.asked, log)
                    ready = time.perf_counter()
                last = epoch + 1 == train.epochs_iters
                if last or (train.eval_interval > 0 and (epoch + 1) % train.eval_interval == 0):
                    self._evaluate(log, ema, epoch, progress)
                    if not last and self.world.agree(self.early_stop.reached):
                        waited = self.early_stop.waited
                        log.say(f"stopped after epoch {epoch + 1}: {waited} evaluations without a better mask AP")
                        last = True
                due = self._unsaved() >= self.config.Recipe.checkpoint_interval * _EPOCH_END_SHARE
                if last or due or interrupt.asked:
                    self._save(ema)
                self._stop_where(interrupt.asked, log)
                if last:
                    break
        return loss

    def _stop_where(self, asked: bool, log: TrainingLog) -> None:
        """Ends an interrupted training, whose checkpoint is written."""
        if asked:
            log.say(
                f"interrupted at iteration {self.state.iteration}; to go on: "
                f"instseg train -c {self.output / 'config.yaml'} -o Train.resume_path={self.output}"
            )
            raise KeyboardInterrupt

    def _unsaved(self) -> int:
        """Iterations since the last checkpoint."""
        return self.state.iteration - self._last_saved

    def step(self, batch: Batch) -> dict[str, float]:
        """One step of the optimizer, at the state's iteration, which stays; the losses by name."""
        return self._step(batch)

    def _step(self, batch: Batch) -> dict[str, float]:
        return self._take_step(batch, self.state.iteration, self.schedule(self.state.iteration))

    def _evaluate(self, log: TrainingLog, ema: ModelEMA | None, epoch: int, progress: Progress) -> None:
        """Evaluates the averaged weights (or the plain ones) and keeps them when they are the best so far."""
        if not self.world.is_main:
            return
        trained = {} if ema is None else {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        bar = progress.add_task("evaluate", total=len(self.val_set))
        try:
            if ema is not None:
                self.model.set_state_dict(ema.state)
            metrics, _ = evaluate_model(
                self.model,
                self.val_set,
                self.config.Recipe.image_size,
                batch_size=self.config.Recipe.evaluation_batch_size,
                on_progress=lambda done: progress.update(bar, completed=done),
            )
            log.evaluation(self.state.iteration, epoch, metrics)
            self.early_stop.update(metrics.mask.ap)
            best = metrics.mask.ap >= self.state.best_ap
            if best:
                self.state.best_ap, self.state.best_epoch = metrics.mask.ap, epoch + 1
            weights, optimizer = self.model.state_dict(), self.optimizer.state_dict()
            found = Evaluated(weights, None if ema is None else trained, optimizer, metrics.mask.ap, epoch + 1)
            save_evaluated(self.output, found, best=best, kept=self.config.Recipe.kept_epochs)
            self._write_result()
            if time.monotonic() - self._curves_drawn > _CURVES_EVERY:
                draw_curves(self.output, self.config.Global.model)
                self._curves_drawn = time.monotonic()
        finally:
            progress.remove_task(bar)
            if trained:
                self.model.set_state_dict(trained)

    def _save(self, ema: ModelEMA | None) -> None:
        self._last_saved = self.state.iteration
        if not self.world.is_main:
            return
        self.state.ema_step = 0 if ema is None else ema.step
        self.state.stop_best, self.state.stop_waited = self.early_stop.best, self.early_stop.waited
        self.state.loss_scale = self.precision.state()
        averages = None if ema is None else ema.state
        save_checkpoint(self.output, self.model.state_dict(), averages, self.optimizer.state_dict(), self.state)

    def _restore(self, checkpoint: Checkpoint, ema: ModelEMA | None) -> None:
        saved = checkpoint.state
        for name, here in (
            ("fingerprint", self.state.fingerprint),
            ("iterations_per_epoch", self.state.iterations_per_epoch),
        ):
            if getattr(saved, name) != here:
                raise CheckpointError(
                    f"{self.output}: its training had another model, data set, batch size or recipe than this "
                    f"configuration ({name}: {getattr(saved, name)}, here {here}); resume with the configuration in "
                    f"{self.output / 'config.yaml'}"
                )
        source = str(self.config.Train.resume_path)
        load_weights(self.model, checkpoint.model, source=source)
        shapes = {parameter.name: parameter.shape for parameter in self.optimizer._parameter_list}
        check_optimizer(checkpoint.optimizer, shapes, source)
        if ema is not None:
            ema.restore(checkpoint.ema or {}, saved.ema_step)
        self.optimizer.set_state_dict({name: paddle.to_tensor(array) for name, array in checkpoint.optimizer.items()})
        self.precision.restore(saved.loss_scale)
        self.early_stop.best, self.early_stop.waited = saved.stop_best, saved.stop_waited
        self.state = saved
        self._last_saved = saved.iteration

    def _fingerprint(self) -> str:
        """What must stay the same for a resumed training to be the same training."""
        train, recipe = asdict(self.config.Train), asdict(self.config.Recipe)
        for key in ("resume_path", "pretrain_weight_path", "log_interval", "eval_interval"):
            del train[key]
        for key in _FREE_KEYS:
            del recipe[key]
        content = yaml.safe_dump(
            [
                self.config.Global.model,
                train,
                recipe,
                list(self.train_set.labels),
                len(self.train_set),
                self.world.size,
            ]
        )
        return hashlib.sha256(content.encode()).hexdigest()[:16]
