def of_symptom(fam,i,ref,sh): return f"{fam.metrics[i]} {fam.now[i]:.3g} instead of {fam.base[i]:.3g}, {sh.own[i]:.0%} of {fam.nodes[ref]}"
def of_clue(seen,shifts,c): return f"{seen.columns[c.column][1]} {shifts.now[c.column]:.3g} instead of {shifts.base[c.column]:.3g}"
