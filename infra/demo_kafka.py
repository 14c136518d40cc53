"""`make demo-kafka`: the demo's pipeline as separate processes over a real broker.

Starts Kafka and Elasticsearch here, simulates twenty minutes of air, publishes them, lets a worker
dedupe and follow presence, stores to Elasticsearch and CSV, shows what came of it, and that the rows
are those of a run in one process; ends all.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import urllib.request
from collections import Counter
from pathlib import Path

from infra.local import Stack, StackError
from infra.whole import ROOT, WholeError, by_stage, messages, stalk, total, wait_until_idle, worker

FOLDER = ROOT / ".demo-kafka"

CONFIG = """\
name: demo
kafka: {{bootstrap_servers: "{kafka}", partitions: 2}}
workers: {{http_port: 0}}
pipeline:
  - pcap: {{path: {folder}/captures/sensor-*.pcap}}      # stalk capture
  - topic: wifi.frames
  - dedupe: {{window_seconds: 2}}                        # faust -A processors worker
  - beacon_filter
  - oui
  - presence: {{absent_after_seconds: 300}}
  - topic: {{frame: wifi.decorated, presence: wifi.presence}}
  - elasticsearch: {{hosts: ["{elasticsearch}"], replicas: 0}}   # stalk sink elasticsearch
  - csv: {{directory: {folder}/out}}                     # stalk sink csv
"""


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    stack = Stack(FOLDER / "stack", say=print)
    print("1. Starts Apache Kafka and Elasticsearch on loopback (jars come from Maven, once).")
    try:
        stack.start(["kafka", "elasticsearch"])
        _run(stack)
    except (StackError, WholeError) as error:
        sys.exit(f"demo-kafka: {error}")
    finally:
        stack.stop()
        print("\nThe servers are stopped. make stack starts some that stay.")


def _run(stack: Stack) -> None:
    url = stack.elasticsearch.url
    config = FOLDER / "config.yaml"
    config.write_text(
        CONFIG.format(kafka=stack.kafka.bootstrap_servers, elasticsearch=url, folder=FOLDER)
    )
    print(f"   The configuration: {config}\n")
    print("2. Simulates twenty minutes of air, heard by three sensors.")
    stalk("simulate", "--out", str(FOLDER / "captures"), "--minutes", "20")
    print("3. stalk topics apply")
    print(_indent(stalk("topics", "apply", "-c", str(config))))
    print("4. faust -A processors worker   (in the background)")
    with worker(config, FOLDER / "worker.log") as address:
        print("5. stalk capture")
        print(_indent(stalk("capture", "-c", str(config))))
        published = messages(stack.kafka.bootstrap_servers, "wifi.frames")
        page = wait_until_idle(address, published)
        print("   The worker's stages:")
        received = by_stage(page, "datastalker_stage_messages_in_total")
        sent = by_stage(page, "datastalker_stage_messages_out_total")
        for name, count in received.items():
            print(f"     {name:<16} in {count:>8,.0f}   out {sent.get(name, 0):>8,.0f}")
        print(f"     Kafka messages: {total(page, 'datastalker_batches_total'):,.0f}")
    for number, sink in enumerate(("elasticsearch", "csv"), 6):
        print(f"{number}. stalk sink {sink} --drain")
        print(_indent(stalk("sink", sink, "--drain", "-c", str(config))))
    print("8. What Elasticsearch found: beacons by network, all that were heard, and those that")
    print("   beacon_filter let through, one in two minutes")
    for name, heard, kept in _networks(url):
        print(f"     {heard:>6,}  {kept:>4,}  {name}")
    print(f"\n9. ./stalk report {FOLDER.name}/out\n")
    print(stalk("report", str(FOLDER / "out"), "--limit", "8"))
    print("10. stalk run: the same stages in one process, without a broker")
    print(f"     {_compared_with_one_process(config)}")


def _compared_with_one_process(config: Path) -> str:
    """Raises WholeError where a row is not the same."""
    lines = config.read_text().replace(f"{FOLDER}/out", f"{FOLDER}/one").splitlines()
    alone = FOLDER / "one.yaml"
    alone.write_text("\n".join(line for line in lines if "elasticsearch" not in line))
    stalk("run", "-q", "-c", str(alone))
    said = []
    for kind in ("frame", "presence"):
        over_kafka, in_one = _rows(FOLDER / "out", kind), _rows(FOLDER / "one", kind)
        if not over_kafka or over_kafka != in_one:
            differ = ((over_kafka - in_one) + (in_one - over_kafka)).total()
            raise WholeError(f"of the {kind} rows {differ:,} are not those of one process")
        said.append(f"{over_kafka.total():,} {kind} rows")
    return f"{' and '.join(said)} over Kafka, and the very same in one process"


def _rows(folder: Path, kind: str) -> Counter[tuple[tuple[str, str], ...]]:
    """The rows of all CSV files of a type, in no order."""
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    for path in folder.glob(f"{kind}-*.csv"):
        with path.open(encoding="utf-8", newline="") as handle:
            found.update(tuple(row.items()) for row in csv.DictReader(handle))
    return found


def _networks(url: str) -> list[tuple[str, int, int]]:
    """Name, beacons heard, beacons kept."""
    query = {
        "size": 0,
        "query": {"term": {"kind": "BEACON"}},
        "aggs": {
            "networks": {
                "terms": {"field": "ssid", "size": 10},
                "aggs": {"held": {"sum": {"field": "beacons_held_back"}}},
            }
        },
    }
    urllib.request.urlopen(
        urllib.request.Request(f"{url}/datastalker-frame-*/_refresh", method="POST"), timeout=30
    ).close()
    request = urllib.request.Request(
        f"{url}/datastalker-frame-*/_search",
        data=json.dumps(query).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        buckets = json.load(answer)["aggregations"]["networks"]["buckets"]
    return [
        (
            each["key"] or "(hidden)",
            each["doc_count"] + int(each["held"]["value"]),
            each["doc_count"],
        )
        for each in buckets
    ]


def _indent(text: str) -> str:
    return "\n".join(f"     {line}" for line in text.strip().splitlines())


if __name__ == "__main__":
    main()
