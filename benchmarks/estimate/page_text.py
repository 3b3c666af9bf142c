"""The prose of docs/DEVICES.md, which no measurement changes."""

INTRODUCTION = """\
# Devices

How long a hop takes on boards that are not at hand, and how far such figures can be trusted. Every time on this
page is an estimate and is called one, except where a source or a machine is named beside it. Measure on the board
where there is one: `ddtasnet-bench --device rpi4` there. Written by

```sh
python -m ddtasnet_edge.benchmarks.estimate.validation --measure build/probes{options} \\
    --json docs/performance/estimate.json
python -m ddtasnet_edge.benchmarks.estimate.page --validation docs/performance/estimate.json --out docs/DEVICES.md
```

and not by hand."""

MODEL = """\
## The model

What a hop costs stands in the manifest of a bundle: bytes and multiply-accumulates of every product by precision
(channels, and magnitude and phase, share weights: read once, multiplied with two rows or eight), operators, and
bytes of state. Then

```text
time = session + operators x dispatch + sum over products of (longer + (1 - overlap) x shorter)
       + state / bandwidth
```

where longer and shorter are the two sides of a roofline: bytes / bandwidth and multiply-accumulates / rate. The
bandwidth is that of the memory level which the whole working set of a hop fits in, as a hop reads it from end to
end; between once and twice the size of a cache the next level takes over. Every figure of a profile has a low and a
high. Each is put to both, alone; the squares of the changes add up to the band. Where several cores are asked
about, products are taken to be shared out evenly, at the bandwidth of all cores."""

NOT_INDEPENDENT = """\
No figure here is a validation in the full sense. Those that are `related` repeat the kind of network and the
board of a calibration, so that they come out well says little of another network or another board; those that are
`seen` were at hand when the model was made. What the estimates are worth for these separators on a Raspberry Pi is
not known until one is measured there. The only test on bundles of this project is on x86-64, below."""

NOT_REPRODUCED = """\
Sizes of language models are those of their files; one token is one step on four cores. DTLN's layers are those of
`DTLN_model.py`; what the scripts of both repositories compute in NumPy between the graphs is part of their figures,
and of the predictions as `tflite-runtime.hop_us`.

Float DTLN is four times slower than its bytes on a Pi 3 B+ would take to read. The explanation that the prediction
uses: the interpreter of 2020 multiplies four rows of floats at once, a Cortex-A53 foresees two streams of reads, so
every line of 64 bytes is waited for. It was looked for after the simpler model had failed, which is why this figure
is `seen`. Its parameters are tinymembench's. Today's runtimes pack weights into one stream.

Not reproduced: the separator of 0.86 M weights (termtv student) with 15.5 ms per block of 23.2 ms on a Pi 4. No
public source of its layers was found. If each weight were used once per block, this model would give {once}
ms with a hundred operators: its weights must be used many times, and how often is not known."""

HOST = """\
A profile of this machine is fitted to bundles of other sizes than the presets, and tested on the presets, all measured
in turn in the same rounds. Per runtime it has seven figures: dispatch of an operator, bytes per second of each memory
level, multiply-accumulates of each precision; how much of its largest cache this machine has is one figure for all.

What limits this is the machine, whose cores, L3 and memory others use too; by how much is said under `noise` below the
table. So rounds are short and many, each in a process of its own. Of a round counts what a tenth of its hops was faster
than, of all rounds the fastest. `repeated` says what is left of the noise: an error below it says nothing against the
model.

That is the kinder measure, chosen because the profile is to be that of this machine alone, and whoever shares it
lengthens hops; the column `p50` holds the same predictions against the middle hop, which a user gets, and `goal` below
the table says what is met by either."""

MEMORY = """\
## Memory

The peak of a process is taken to be what its runtime takes at all and a number of copies of the graph file:
`benchmarks/estimate/memory.py`, fitted to the peaks in `docs/performance/estimate.json`. Those are of Linux on
x86-64; on ARM they are assumed to be the same. The largest that a sentence above names must fit in the memory of the
smallest board that is sold under the name, all of it."""

DISPATCH = """\
Dispatch (`hop_us` and `operator_us` of the three runtimes) was measured on no board. Assumed is what the fit above has
found on x86-64,
{fitted},
slowed down as single-threaded 7-zip is on the board; its 4800 MIPS of that machine are assumed too. `low` is half of
the value: 7-zip waits for memory, which is slower on a board, more than dispatch need do, and that machine may do fewer
MIPS. `high` is three times the value: between operators weights push the runtime's own code and data out of the caches
of a board, which are far smaller. A fit made anew that leaves these figures behind fails a test."""

ADDING = """\
## Adding a board

1. Copy the file in `benchmarks/devices/` that is nearest and name it as the device is to be called:
   `orange-pi5.toml`.
2. Replace each figure: `{ value = 2.15, low = 1.6, high = 2.37, source = "..." }`. The source is an address or a
   paper, or `assumed:` and why. `read.ram` is what tinymembench (sbc-bench) calls NEON read, in GB/s of one core;
   `read_all.ram` a read-only STREAM on all cores; caches smaller than any bundle are left out. `macs` are
   multiply-accumulates per cycle of one core; with the ending `_dotprod` they go before those without. A figure
   under the name of a runtime (`litert`, `onnxruntime`, `openvino`) goes before that of all.
3. If somebody measured a network of known layers on it, add that to `benchmarks/estimate/published.py`: as
   `CALIBRATION` if a figure comes from it, as `RELATED` if one comes from the same network on that board, as
   `VALIDATION` if it shares nothing with what was fitted or assumed.
4. Write this page anew. To measure on the board, add its name to `benchmarks/machine.py`."""
