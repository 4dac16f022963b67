"""dbx models: dataset, train, evaluate, show, publish, releases."""

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from shared.errors import Refused, plainly


def main(argv: list[str]) -> int:
    """Run one subcommand; returns its exit status."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except (OSError, KeyError, ValueError) as e:
        print(f"dbx models {args.command}: {plainly(e)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dbx models", description="Train, evaluate and package the anomaly models.")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train on a folder of labelled flights and write a signed bundle")
    train.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="labels.csv and the logs it names")
    train.add_argument("--out", type=Path, required=True, metavar="BUNDLE")
    train.add_argument(
        "--key-folder", type=Path, default=Path(os.environ.get("DBX_RELEASE_KEYS", "~/.dbx-release")).expanduser(),
        metavar="FOLDER", help="holds release.key, made when absent (default: $DBX_RELEASE_KEYS or ~/.dbx-release)",
    )  # fmt: skip
    train.add_argument("--new-key", action="store_true", help="replace release.pub beside the bundle by this key's")
    train.add_argument(
        "--with-feedback", type=Path, action="append", default=[], metavar="FILE",
        help="an organisation's export of verdicts on findings; may be given again",
    )  # fmt: skip
    train.set_defaults(run=_train)
    evaluate = commands.add_parser("evaluate", help="held-out figures: each site in turn is never trained on")
    evaluate.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    evaluate.add_argument("--ablation", action="store_true", help="also what is lost without each family of signals")
    evaluate.set_defaults(run=_evaluate)
    dataset = commands.add_parser(
        "dataset", help="the labelled flights as a table of feature vectors, with a data card"
    )
    dataset.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    dataset.add_argument("--out", type=Path, required=True, metavar="TABLE", help="a .npz file")
    dataset.set_defaults(run=_dataset)
    show = commands.add_parser("show", help="verify a bundle and print its manifest")
    show.add_argument("bundle", type=Path, nargs="?", help="default: the packaged one")
    show.set_defaults(run=_show)
    publish = commands.add_parser("publish", help="release a signed bundle to aircraft, through the hub")
    publish.add_argument("bundle", type=Path)
    publish.add_argument("--stage", choices=("shadow", "canary", "fleet"), required=True)
    publish.add_argument("--aircraft", nargs="+", default=[], metavar="A", help="names or ids (fleet: else all)")
    publish.set_defaults(run=_publish)
    releases = commands.add_parser("releases", help="what was released, and which aircraft run what")
    releases.set_defaults(run=_releases)
    for verb in (publish, releases):
        verb.add_argument("--hub", default="", metavar="URL", help="default: $DBX_HUB_URL or http://127.0.0.1:8460")
        verb.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _train(args: argparse.Namespace) -> int:
    from models.dataset import read_flights
    from models.export import public_raw, release_key
    from models.feedback import read_feedback
    from models.train import describe, train

    key = release_key(args.key_folder)
    public, trusted = public_raw(key), args.out.parent / "release.pub"
    if not _settle_key(trusted, public, args.new_key):
        print(
            f"{trusted} trusts another key than {args.key_folder}/release.key: --new-key replaces it", file=sys.stderr
        )
        return 1
    print(f"reading {args.data} ...", file=sys.stderr)
    flights = read_flights(args.data)
    kinds = {f.fault for f in flights if f.fault}
    feedback = []
    for path in args.with_feedback:
        examples, left_out = read_feedback(path, kinds)
        print(f"{path}: {len(examples)} verdicts, {left_out} left out", file=sys.stderr)
        feedback += examples
    print(
        f"training on {len(flights)} flights, {sum(not f.fault for f in flights)} of them nominal ...", file=sys.stderr
    )
    bundle, manifest, _ = train(flights, key, datetime.datetime.now(datetime.UTC), feedback)
    args.out.write_bytes(bundle)
    print(json.dumps(describe(manifest) | {"bundle_bytes": len(bundle)}, indent=2))
    return 0


def _settle_key(trusted: Path, public: bytes, replace: bool) -> bool:
    """Whether `trusted` names the key; written where there is none or it is to be replaced."""
    from shared.scoring import read_keys

    trusted.parent.mkdir(parents=True, exist_ok=True)
    if replace or not trusted.exists():
        trusted.write_text(f"# Ed25519 public keys that sign model bundles\n{public.hex()}\n", encoding="ascii")
    return public in read_keys(trusted)


def _evaluate(args: argparse.Namespace) -> int:
    from models.dataset import read_flights
    from models.evaluate import ablation, cross_airframes, cross_validate

    flights = read_flights(args.data)
    found = cross_validate(flights).summary() | {"airframes_left_out": cross_airframes(flights)}
    print(json.dumps(found | ({"ablation": ablation(flights)} if args.ablation else {}), indent=2))
    return 0


def _dataset(args: argparse.Namespace) -> int:
    from models.dataset import read_flights, write_table
    from models.train import data_card

    flights = read_flights(args.data)
    write_table(args.out, flights)
    print(json.dumps(data_card(flights) | {"table": str(args.out), "bytes": args.out.stat().st_size}, indent=2))
    return 0


def _show(args: argparse.Namespace) -> int:
    from models.train import describe
    from shared.scoring import EDGE_BUNDLE, load_bundle, read_keys

    try:
        bundle = load_bundle(args.bundle or EDGE_BUNDLE, read_keys())
    except Refused as e:
        print(f"refused: {e}", file=sys.stderr)
        return 1
    print(json.dumps(describe(bundle.manifest) | {"digest": bundle.digest.hex()}, indent=2))
    return 0


def _publish(args: argparse.Namespace) -> int:
    from models.publish import Hub

    made = Hub(args.hub).publish(args.bundle, args.stage, args.aircraft)
    text = f"{made['model']} ({made['digest'][:12]}) to {len(made['told'])} aircraft: {made['stage']}"
    if made["not_told"]:
        text += f"; not told, too many directives wait: {', '.join(made['not_told'])}"
    print(json.dumps(made) if args.json else text)
    return 1 if made["not_told"] else 0


def _releases(args: argparse.Namespace) -> int:
    from models.publish import Hub, lines

    found = Hub(args.hub).releases()
    print(json.dumps(found) if args.json else "\n".join(lines(found)))
    return 0
