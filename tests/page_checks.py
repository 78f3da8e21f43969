"""What is looked for in every page, as JavaScript that answers with what is wrong."""

CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = (c) => c.slice(0, 3).map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const back = (node) => { for (let n = node; n; n = n.parentElement) {
    const c = parse(getComputedStyle(n).backgroundColor);
    if (c.length < 4 || c[3] > .99) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !node.checkVisibility()) continue;
    if (node.closest('svg, .unseen, .skip')) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(back(node))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) bad.push(`${node.className}: ${ratio.toFixed(2)} ${node.textContent.slice(0, 20)}`);
  }
  return bad;
}"""
REPEATED_IDS = """() => { const ids = [...document.querySelectorAll('[id]')].map((n) => n.id);
  return ids.filter((id, place) => ids.indexOf(id) !== place); }"""
NAMELESS = """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a[href]')]
  .filter((n) => !(n.labels?.length || n.textContent.trim() || n.getAttribute('aria-label'))).map((n) => n.outerHTML)"""
