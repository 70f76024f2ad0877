/**
 * Colours of clusters: Okabe and Ito's palette (Color Universal Design, 2008), which people with any
 * common colour blindness can tell apart, then the same hues lighter and darker.
 */
import { NO_CLUSTER } from "../cloud/decode";

type Rgb = readonly [number, number, number];

const HUES: readonly Rgb[] = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [46, 134, 222],
  [213, 94, 0],
  [204, 121, 167],
];
const NONE: Rgb = [138, 138, 148];
/** Share of white (above zero) or black (below) mixed in, by round through the hues. */
const ROUNDS = [0, 0.4, -0.35, 0.65] as const;

function mixed(colour: Rgb, share: number): Rgb {
  const end = share > 0 ? 255 : 0;
  const amount = Math.abs(share);
  const [red, green, blue] = colour;
  const mix = (value: number): number => Math.round(value + (end - value) * amount);
  return [mix(red), mix(green), mix(blue)];
}

export function clusterColour(cluster: number): Rgb {
  if (cluster === NO_CLUSTER) return NONE;
  const hue = HUES[cluster % HUES.length] ?? NONE;
  const round = ROUNDS[Math.floor(cluster / HUES.length) % ROUNDS.length] ?? 0;
  return mixed(hue, round);
}

/** Red, green and blue bytes of each point; length 3 × clusters. */
export function clusterColours(clusters: Uint16Array): Uint8Array {
  const colours = new Uint8Array(clusters.length * 3);
  for (const [point, cluster] of clusters.entries()) colours.set(clusterColour(cluster), point * 3);
  return colours;
}
