"""A picture of all comparisons: each contestant as a multiple of the peer, with the spread of its rounds and the target."""


def draw(results, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "lore"
    from matplotlib import pyplot

    bars = [bar for result in results for bar in comparisons(result)]
    if not bars:
        return
    figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(bars) + 1.4), layout="constrained")
    for place, (label, value, low, high, target, met) in enumerate(reversed(bars)):
        axes.barh(place, value, color="#2a7f62" if met else "#c25b4e", height=0.6)
        axes.errorbar(value, place, xerr=[[value - low], [high - value]], color="black", capsize=2, linewidth=1)
        axes.plot([target, target], [place - 0.4, place + 0.4], color="black", linewidth=2)
        axes.text(high, place, f"  {value:.2f} ×", va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), [bar[0] for bar in reversed(bars)], fontsize=8)
    axes.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("how many times better than the peer (median; whiskers: slowest and fastest round; thick line: target)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def comparisons(result):
    """Every target that is a ratio, turned so that more is better."""
    for verdict in result["verdicts"]:
        if verdict["value"] is None or not verdict["wanted"].endswith("×"):
            continue
        sides, key = verdict["text"].split(": ")[0].rsplit(", ", 1)
        one, other = sides.split(" / ")
        measured = result["contestants"][one]["measures"][key]
        base = result["contestants"][other]["measures"][key]["median"]
        target = float(verdict["wanted"].split()[1])
        values = [measured[which] / base for which in ("median", "min", "max")]
        if verdict["wanted"].startswith("≤"):
            values, target = [1 / values[0], 1 / values[2], 1 / values[1]], 1 / target
        what = next(measure for measure in result["measures"] if measure["key"] == key)
        name = (what["name"] or what["unit"]).strip()
        yield f"{result['row']}. {result['title']}: {name}", *values, target, verdict["met"]
