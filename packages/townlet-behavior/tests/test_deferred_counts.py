from collections import Counter
from dataclasses import fields

import numpy as np

from townlet_behavior import DeferredCounts
from townlet_behavior.deferred.counts import COUNTED, record_of, restored_counts, saved_counts


def test_every_count_has_its_place() -> None:
    assert [field.name for field in fields(DeferredCounts)] == [*COUNTED, "charged_tokens", "charged_cost"]
    counted = Counter({name: number for number, name in enumerate(COUNTED)})
    record = record_of(counted, tokens=9, nano=1_500_000_000)
    assert (record.calls, record.opened, record.charged_tokens, record.charged_cost) == (0, len(COUNTED) - 1, 9, 1.5)
    saved = saved_counts(counted)
    assert saved.dtype == np.int64
    assert record_of(restored_counts(saved), tokens=9, nano=1_500_000_000) == record
