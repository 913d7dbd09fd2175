"""Cycles of the inner loops of the products on ARM cores, as llvm-mca predicts them: no ARM board was at hand.

    cargo rustc -p umedsam --lib --no-default-features --features kernels --release \
      --target aarch64-unknown-linux-gnu -- --emit asm
    python3 benches/arm.py target/aarch64-unknown-linux-gnu/release/deps/umedsam-*.s [--llvm-mca llvm-mca-22]

Of each set of kernels and each way to multiply, the loop with the most products is taken (the full tile). Its bound is
what the core's resources allow if nothing waits for anything. An encode takes at least the time of its products, and
at most SLACK times that, if the rest of it weighs as it does on x86-64.
"""

import argparse
import collections
import re
import subprocess

# Core, kernels that it runs the fastest, GHz for the prediction.
CORES = [
    ("cortex-a53", "NEON", 1.4),
    ("cortex-a55", "NEON_FP16", 1.8),
    ("cortex-a72", "NEON", 1.8),
    # A server's Cortex-A76: llvm-mca has no model of the A76's own, and takes an A57 for it.
    ("neoverse-n1", "NEON_FP16", 2.4),
    ("neoverse-v1", "NEON_BF16", 2.6),
    ("apple-m1", "NEON_FP16", 3.2),
]
# G operations of an encode (a multiplication and an addition are two): what the int8 model computes in 8 bits, and the rest.
ENCODE = {"int8": 64.05, "float": 10.9}
SLACK = 1.75
# Instruction: what is multiplied, and operations of one.
PRODUCTS = {
    ("fmla", "4s"): ("f32", 8),
    ("fmla", "8h"): ("f16", 16),
    ("bfmmla", "4s"): ("bf16", 32),
    ("sdot", "4s"): ("int8", 32),
    ("smmla", "4s"): ("int8", 64),
}
LABEL = re.compile(r"^(\.L\w+):")
BRANCH = re.compile(r"^\s+(?:b\.\w+|cbn?z|tbn?z)\s.*?(\.L\w+)\s*$")


def product(line):
    found = re.match(r"\s+(\w+)\s+v\d+\.(\w+),", line)
    return PRODUCTS.get(found.groups()) if found else None


def loops(lines):
    """Innermost loops, each as its lines, branch included."""
    places, start = {}, None
    for number, line in enumerate(lines):
        if label := LABEL.match(line):
            places[label[1]] = start = number
        elif (branch := BRANCH.match(line)) and branch[1] in places and places[branch[1]] == start:
            yield [text for text in lines[start + 1 : number + 1] if not re.match(r"\s*(\.|//|$)", text)]


def kernels(path):
    """Set of kernels and format -> the loop with the most work."""
    best, name, body = {}, None, []

    def close():
        for loop in loops(body):
            work = collections.Counter()
            for found in filter(None, map(product, loop)):
                work[found[0]] += found[1]
            if work:
                kind, amount = work.most_common(1)[0]
                if amount > best.get((name, kind), (0,))[0]:
                    best[name, kind] = amount, loop

    with open(path) as file:
        for line in file:
            if re.match(r"^_[A-Za-z]\S*:", line):
                if name:
                    close()
                found = re.search(r"arm\d+(NEON\w*?)6kernel17h", line)
                name, body = found and found[1], []
            elif name:
                body.append(line.rstrip("\n"))
    return best


def analyse(tool, core, loop, rounds=200):
    """Cycles of a round, and the least that the core's resources allow."""
    text = "0:\n" + "\n".join(re.sub(r"\.L\w+", "0b", line) for line in loop) + "\n"
    command = [tool, "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+fullfp16,+dotprod,+bf16,+i8mm", f"-iterations={rounds}"]
    run = subprocess.run(command, input=text, capture_output=True, text=True)
    found = re.search(r"Total Cycles:\s+(\d+)[\s\S]*Block RThroughput:\s+([\d.]+)", run.stdout)
    if not found:
        raise SystemExit(f"{core}: {run.stderr}\n{text}")
    return int(found[1]) / rounds, float(found[2])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("assembly")
    arguments.add_argument("--llvm-mca", default="llvm-mca")
    arguments = arguments.parse_args()
    found = kernels(arguments.assembly)
    if not found:
        raise SystemExit(f"{arguments.assembly}: no loop with products")
    print("| core | kernels | format | operations a cycle | of the loop's bound | GHz | G operations/s | encode, s |")
    print("|---|---|---|---|---|---|---|---|")
    for core, name, clock in CORES:
        if (name, "f32") not in found:
            raise SystemExit(f"{arguments.assembly}: no kernels of the set {name}")
        rates = {}
        for kind in ["f32", "f16", "bf16", "int8"]:
            if (name, kind) not in found:
                continue
            work, loop = found[name, kind]
            cycles, bound = analyse(arguments.llvm_mca, core, loop)
            rate = rates[kind] = work / cycles * clock
            whole = ENCODE["int8"] + ENCODE["float"]
            seconds = whole / rate
            if kind == "int8":
                floats = max(rate for kind, rate in rates.items() if kind != "int8")
                seconds = ENCODE["int8"] / rate + ENCODE["float"] / floats
            print(f"| {core} | {name.lower()} | {kind} | {work / cycles:.1f} | {100 * bound / cycles:.0f} % | {clock} | "
                  f"{rate:.0f} | {seconds:.1f} to {SLACK * seconds:.1f} |")


main()
