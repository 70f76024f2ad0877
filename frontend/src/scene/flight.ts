/** Moves the camera and its target smoothly from one place to another. */
import { Vector3 } from "three";

export const FLIGHT_MS = 600;

export interface Pose {
  position: Vector3;
  target: Vector3;
}

/** Slow at both ends; 0 → 0, 1 → 1. */
export function eased(share: number): number {
  return share < 0.5 ? 4 * share ** 3 : 1 - (-2 * share + 2) ** 3 / 2;
}

export class Flight {
  readonly #from: Pose;
  readonly #to: Pose;
  #start: number | null = null;

  constructor(from: Pose, to: Pose) {
    this.#from = { position: from.position.clone(), target: from.target.clone() };
    this.#to = to;
  }

  /** Writes the pose at time `now` (milliseconds) into `pose`; true once it has arrived. */
  step(now: number, pose: Pose): boolean {
    this.#start ??= now;
    const share = Math.min(1, (now - this.#start) / FLIGHT_MS);
    pose.position.lerpVectors(this.#from.position, this.#to.position, eased(share));
    pose.target.lerpVectors(this.#from.target, this.#to.target, eased(share));
    return share >= 1;
  }

  arrive(pose: Pose): void {
    pose.position.copy(this.#to.position);
    pose.target.copy(this.#to.target);
  }
}

export function pose(position: readonly number[], target: readonly number[]): Pose {
  return { position: new Vector3(...position), target: new Vector3(...target) };
}
