"""Run the benchmarks and print Markdown tables: `nox -s bench`, or one by name.

    python benchmarks/run.py [NAME ...] [--threads N]

Everything but `large` and `operations` is a ratio of two things measured in one run.
"""

import argparse
import os
import platform
import sys

import attention_speed
import generation_speed
import gpu_speed
import large_pictures
import metrics_speed
import operations
import throughput
import torch
import training_speed
import training_step

BENCHMARKS = {
    "attention": attention_speed.run,
    "step": training_step.run,
    "training": training_speed.run,
    "throughput": throughput.run,
    "generation": generation_speed.run,
    "metrics": metrics_speed.run,
    "large": large_pictures.run,
    "operations": operations.run,
    "gpu": gpu_speed.run,
}


# Fresh memory can be slow enough to drown everything else. glibc keeps what was freed under these;
# both sides of every ratio run with them.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**34)}


def main() -> None:
    """Run what was asked for, or everything."""
    if not ALLOCATOR.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown benchmarks {sorted(unknown)}; choose from {sorted(BENCHMARKS)}")
    torch.set_num_threads(args.threads)
    print(f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}")
    for name in args.names or BENCHMARKS:
        print("\n" + "\n".join(BENCHMARKS[name]()), flush=True)


if __name__ == "__main__":
    main()
