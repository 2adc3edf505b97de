from autocompress.figures.bottlenecks import bounds, diagnosis
from autocompress.results import LayerProfile, LayerWork


def side(ms, macs=1e6, moved=1e4, overhead=0.01, widths=()):
    return LayerWork(ms=ms, macs=macs, bytes=moved, overhead_ms=overhead, widths=tuple(widths))


def row(name, before, after):
    return LayerProfile(name=name, type="Conv2d", before=before, after=after)


FAST = row("fast", side(1.0, 4e6), side(0.5, 2e6))  # as many MACs a second before and after
COPIES = row("copies", side(1.0, 1e5, 1e6), side(0.5, 5e4, 5e5))  # sets the roof of bandwidth


def test_a_layer_that_does_its_share_is_bound_by_arithmetic():
    assert bounds([FAST, COPIES])["fast"] is None


def test_call_overhead_is_half_of_the_time():
    profile = [FAST, row("a", side(0.1), side(0.02)), row("b", side(0.1), side(0.021, 1e6))]
    assert bounds(profile) == {"fast": None, "a": "call overhead", "b": None}
    assert "a: 0.02 ms, mostly call overhead" in list(diagnosis(profile))


def test_memory_traffic_is_low_intensity_at_high_bandwidth():
    slow = row("slow", side(1.0, 1e5, 1e6), side(1.2, 5e4, 5e5))  # 0.42 of the bandwidth
    busy = row("busy", side(1.0, 1e5, 1e6), side(0.9, 5e4, 5e5))  # 0.56 of it
    dense = row("dense", side(1.0, 8e6, 1e6), side(0.5, 4e6, 5e5))  # as busy, but as much work
    found = bounds([FAST, COPIES, slow, busy, dense])
    assert found["copies"] == found["busy"] == "memory traffic"
    assert found["slow"] == "slower kernel"
    assert found["dense"] is None
    lines = list(diagnosis([FAST, COPIES]))
    assert "copies: 0.50 ms, bound by memory traffic: 0.1 multiply-adds per byte" in lines


def test_a_kernel_that_became_slower_is_named_with_both_speeds():
    profile = [FAST, row("conv1", side(1.0, 4e6), side(0.9, 2e6))]
    assert bounds(profile)["conv1"] == "slower kernel"
    assert (
        "conv1: 50 % of the multiply-adds take 90 % of the time: 2.2 GMAC/s, 4 before"
        in diagnosis(profile)
    )


def test_widths_that_changed_and_fill_no_group_of_8_are_named():
    def said(before, after):
        lines = list(diagnosis([row("c", side(1.0, widths=before), side(1.0, widths=after))]))
        return lines[1:]

    assert said([24], [13]) == ["c: 13 of 24 channels: 13 is not a multiple of 8"]
    assert said([24], [16]) == []
    assert said([10], [10]) == []
    assert said([], []) == []
    assert said([10], [5, 10]) == ["c: rank 5: not a multiple of 8"]
    assert said([10], [8, 10]) == []


def test_what_is_left_of_time_and_work_comes_first():
    gone = row("gone", side(1.0, 2e6), None)
    first, *more = diagnosis([FAST, gone])
    assert first == (
        "layers with weights: 0.50 ms of 2.00 ms are left, with 33 % of the multiply-adds"
    )
    assert more == []


def test_a_model_of_small_layers_is_called_mostly_calls():
    small = [row(str(n), side(0.02), side(0.012, 5e5)) for n in range(3)]
    lines = list(diagnosis(small))
    assert lines[1].startswith("calling 3 layers takes 83 % of that")
    assert "removing weights would not" in lines[1]
    assert len(lines) == 2


def test_layers_that_hardly_count_get_no_sentence():
    tiny = row("tiny", side(0.009, widths=[24]), side(0.009, widths=[13]))
    assert not [line for line in diagnosis([FAST, tiny]) if line.startswith("tiny")]


def test_an_empty_profile_says_nothing():
    assert list(diagnosis([])) == []
    assert bounds([]) == {}
