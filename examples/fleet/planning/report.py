# SPDX-License-Identifier: LGPL-2.1-or-later
"""What plan.py says, of the dictionaries that measure.py, size.py and simulate.py return."""

from __future__ import annotations

import argparse


def assumptions(asked: argparse.Namespace, measured: dict) -> list[str]:
    """All that the figures rest on, a sentence each."""
    return [
        f"The nodes' cores are as fast as those of the machine that was measured ({measured['machine']['processor']}).",
        "There is a process for each core, with a copy of the model of its own. Where processes share cores, a node "
        "takes less memory, and captions wait no longer.",
        f"{asked.reserve / 2**30:g} GiB of a node's memory stay with the system and Ray.",
        *(of_cameras(asked, measured["streams"]) if asked.cameras else []),
        *(of_archive(asked, measured) if asked.photos else []),
        *(of_simulation(asked) if asked.simulate else []),
    ]


def of_cameras(asked: argparse.Namespace, streams: dict) -> list[str]:
    video = (
        f"Cameras send H.264 of {streams['width']}x{streams['height']}, {streams['rate']} frames and "
        f"{streams['bits_per_second'] / 1e6:.1f} Mbit a second. "
    )
    still = f"Of due pictures {asked.still:.0%} show nothing new and keep their caption, without work."
    return [
        {
            "none": "Cameras have raw video, or something else than the processor decodes it.",
            "all": video + "The processor decodes all frames.",
            "keyframes": video + "The processor decodes only keyframes, one in two seconds.",
        }[asked.decode],
        still if asked.still else "Every due picture is captioned. Still scenes (--still) would take less.",
        f"Nodes are at work for {asked.utilisation:.0%} of the time at most, and {asked.spare} more share the load.",
        "The network, the broker and the disk are not looked at.",
    ]


def of_archive(asked: argparse.Namespace, measured: dict) -> list[str]:
    return [
        f"Photos are like those that were measured, of {measured['megapixels']:.1f} megapixels. Larger ones take "
        "longer to read: --photos-from measures yours.",
        f"Shards, files and starts take {asked.overhead:.0%} beside the photos. Storage is fast enough.",
    ]


def of_simulation(asked: argparse.Namespace) -> list[str]:
    said = [
        f"A process fails every {asked.process_mtbf / 86400:g} days and a node every {asked.node_mtbf / 86400:g}, at "
        f"random times. Their work is taken over after {asked.recovery:g} s, and a node is back after "
        f"{asked.repair / 60:g} min. These are guesses, not measurements."
    ]
    if asked.cameras:
        said.append(
            "Each camera keeps its own rhythm, and its pictures wait for their own core in turn. Decoding goes first. "
            "A caption that is due while its camera has no process is lost."
        )
    if asked.photos:
        said.append(
            f"Any free core takes the next shard of {asked.shard} photos, which takes {asked.per_shard:g} s more than "
            f"its photos. One that fails begins again. {asked.slow_share:.0%} of the nodes take {asked.slow_factor:g} "
            "times as long."
        )
    return said


def megabytes(value: float) -> str:
    return f"{value / 2**20:.1f} MiB" if value < 2**30 else f"{value / 2**30:.1f} GiB"


def print_measured(measured: dict) -> None:
    machine, captions, streams = measured["machine"], measured["captions"], measured["streams"]
    low, high = streams["decode_cpu_range"]
    print(
        f"Measured on {machine['processor']}, {machine['cores']} cores, with {machine['model']} in "
        f"{captions['precision']} ({captions['level']}):\n"
        f"  {captions['captions_per_second_per_core']:.1f} captions a second per core while {captions['cores_busy']} "
        f"are busy ({captions['slowest_round']:.1f} to {captions['fastest_round']:.1f} in {captions['rounds']} rounds "
        f"each), {measured['one_core_busy']:.1f} while one is\n"
        f"  a stream takes {streams['decode_cpu']:.3f} of a core to decode ({low:.3f} to {high:.3f}), "
        f"{streams['element_cpu']:.3f} in the element, {streams['caption_cpu'] * 1e3:.0f} ms for a caption, "
        f"and {megabytes(streams['stream_bytes'])}, "
        f"{megabytes(streams['stream_bytes_over_identity'])} of it over identity\n"
        f"  a process takes {megabytes(max(streams['process_bytes'], captions['process_bytes']))} without its streams"
    )
    if captions["wall_over_cpu"] > 1.1:
        print(
            f"  WARNING: other programs were at work: captions took {captions['wall_over_cpu']:.2f} times their CPU "
            "time. Only CPU time counts here, but measure again on a quiet machine."
        )


def print_plan(asked: argparse.Namespace, result: dict) -> None:
    if plan := result.get("cameras"):
        print(
            f"\n{asked.cameras} cameras every {asked.interval:g} s, nodes of {asked.cores} cores and "
            f"{megabytes(asked.memory)}:\n"
            f"  a camera takes {plan['cpu_per_camera']:.4f} of a core: {plan['cpu_decode']:.4f} to decode, "
            f"{plan['cpu_element']:.4f} in the element, {plan['cpu_captions']:.4f} for captions\n"
            f"  a node holds {plan['cameras_per_node']} cameras; {plan['limit']} is the limit (by processor time "
            f"{plan['cameras_per_node_by_cpu']}, by memory {plan['cameras_per_node_by_memory']})\n"
            f"  => {plan['nodes']} nodes and {plan['spare']} to spare"
        )
    if plan := result.get("archive"):
        print(
            f"\n{asked.photos:g} photos in {asked.days:g} days, nodes of {asked.cores} cores:\n"
            f"  a photo takes {plan['cpu_per_photo'] * 1e3:.1f} ms of a core, {plan['cpu_read'] * 1e3:.1f} of it to be "
            f"read; a node captions {plan['photos_per_second_per_node']:.0f} a second\n"
            f"  => {plan['nodes']} node{'s' * (plan['nodes'] > 1)}, {plan['days']:.1f} days"
        )


def print_simulation(result: dict) -> None:
    if found := result.get("cameras"):
        waits = found["waiting_seconds"]
        print(
            f"\nSimulated: {found['cameras']} cameras on {found['nodes']} nodes for {found['hours']:g} hours, "
            f"{found['due']} captions due\n"
            f"  waiting for a core: mean {waits['mean'] * 1e3:.0f} ms, half within {waits['p50'] * 1e3:.0f} ms, 99 % "
            f"within {waits['p99'] * 1e3:.0f} ms, 99.9 % within {waits['p99.9'] * 1e3:.0f} ms\n"
            f"  late: {found['late']} captions, {found['late_share']:.4%}\n"
            f"  lost to {found['process_failures']} failures of processes and {found['node_failures']} of nodes: "
            f"{found['lost']} captions, {found['lost_share']:.4%}"
        )
    for found in result.get("archive", []):
        print(
            f"\nSimulated: {found['photos']:g} photos on {found['nodes']} nodes\n"
            f"  {found['days']:.2f} days, {found['over_ideal']:.3f} of the ideal; the last core ends "
            f"{found['tail_seconds']:.0f} s after the first is idle\n"
            f"  {found['shards_again']} of {found['shards']} shards begun again, "
            f"{found['work_again_share']:.3%} of the work"
        )
