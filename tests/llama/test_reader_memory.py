"""`Llama.plan_memory` with a reader: what both take."""

from __future__ import annotations

from contextlib import closing

from llama_fixtures import load_narrow, narrow_path

POLICY = "asl:layer=14,select_k=128"


def test_it_sums_both() -> None:
    with closing(load_narrow(n_ctx=2048, kv_policy=POLICY, reader=narrow_path())) as llm:
        both = llm.plan_memory(1500)
        assert llm.reader is not None
        theirs = llm.reader.plan_memory(1500)
        assert [one.name for one in both] == [one.name for one in theirs]
        for one, other in zip(both, theirs, strict=True):
            assert one.weights == 2 * other.weights
            assert one.kv > other.kv > 0 and one.total > other.total
        # of more tokens than its context holds it takes no more
        assert llm.reader.plan_memory(10**6) == llm.reader.plan_memory(llm.reader.llm.n_ctx())
