"""A Kafka cluster in a process of its own: the mock cluster of librdkafka, which says where it is and then waits."""

from __future__ import annotations

import sys

from confluent_kafka import Producer

owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
found = owner.list_topics(timeout=10).brokers.values()
print(",".join(f"{one.host}:{one.port}" for one in found), flush=True)
sys.stdin.read()
