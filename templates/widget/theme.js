// Colours: those of the site, dark or light as the page is.

/** The relative luminance of a computed colour (WCAG 2.2), and its opacity. */
function luminance(colour) {
  const numbers = (colour.match(/-?[\d.]+(?:e-?\d+)?%?/g) ?? []).map((number) =>
    number.endsWith("%") ? parseFloat(number) / 100 : parseFloat(number),
  );
  const [first, green, blue, alpha = 1] = colour.startsWith("color(") ? numbers.slice(-4) : numbers;
  // lab, lch and their kin begin with the lightness.
  if (/^(?:ok)?l/.test(colour)) return { light: (first > 1 ? first / 100 : first) ** 2.4, alpha };
  const scale = colour.startsWith("rgb") ? 255 : 1;
  const [r, g, b] = [first, green, blue].map((part) => {
    const value = part / scale;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return { light: 0.2126 * r + 0.7152 * g + 0.0722 * b, alpha };
}

/** Whether the page is dark: by its background, or else by its text. */
function pageIsDark() {
  for (const node of [document.body, document.documentElement]) {
    if (!node) continue;
    const { light, alpha } = luminance(getComputedStyle(node).backgroundColor);
    if (alpha >= 0.5) return light < 0.18;
  }
  return luminance(getComputedStyle(document.body ?? document.documentElement).color).light > 0.4;
}

/** The site's colour, and black or white text on it, whichever has more contrast (WCAG 2.2, contrast ratio). */
function palette(colour) {
  const accent = /^#[0-9a-f]{6}$/i.test(colour) ? colour : "#1b5e9e";
  const rgb = [1, 3, 5].map((at) => parseInt(accent.slice(at, at + 2), 16));
  const { light } = luminance(`rgb(${rgb.join(", ")})`);
  const ink = 1.05 / (light + 0.05) >= 4.5 ? "#ffffff" : "#000000";
  return `:host { --accent: ${accent}; --ink: ${ink}; }`;
}
