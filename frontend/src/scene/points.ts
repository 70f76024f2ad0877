/** The cloud as one GL_POINTS draw. */
import {
  BufferAttribute,
  BufferGeometry,
  type Color,
  GLSL3,
  Points,
  ShaderMaterial,
  Vector3,
} from "three";
import type { Cloud } from "../cloud/decode";
import { clusterColours } from "./palette";

/** Smallest and largest diameter of a point, in CSS pixels. */
export const POINT_LIMITS = { smallest: 2.5, largest: 40 } as const;

const VERTEX = /* glsl */ `
uniform float uDiameter;   // of a point, in units of the cloud
uniform float uPixels;     // device pixels of one unit at distance one
uniform float uSmallest;   // device pixels
uniform float uLargest;
uniform float uFogNear;
uniform float uFogFar;
uniform int uChosen;
uniform int uHovered;
in vec3 colour;
out vec3 vColour;
out float vFog;
flat out int vMark;

void main() {
  vec4 seen = modelViewMatrix * vec4(position, 1.0);
  gl_Position = projectionMatrix * seen;
  float size = clamp(uDiameter * uPixels / max(1e-6, -seen.z), uSmallest, uLargest);
  vMark = gl_VertexID == uChosen ? 2 : gl_VertexID == uHovered ? 1 : 0;
  gl_PointSize = vMark > 0 ? max(size * 1.5, uSmallest * 4.0) : size;
  // the marked point is never hidden by its neighbours
  if (vMark > 0) gl_Position.z = -0.99 * gl_Position.w;
  vColour = colour;
  vFog = smoothstep(uFogNear, uFogFar, -seen.z) * 0.72;
}
`;

const FRAGMENT = /* glsl */ `
uniform vec3 uBackground;
uniform vec3 uMark;
in vec3 vColour;
in float vFog;
flat in int vMark;
out vec4 pixel;

void main() {
  vec2 from = gl_PointCoord * 2.0 - 1.0;
  float radius = dot(from, from);
  if (radius > 1.0) discard;
  // a hint of a ball, so that overlapping points stay apart
  vec3 colour = vColour * (1.08 - 0.42 * radius);
  colour = mix(colour, uBackground, vMark > 0 ? 0.0 : vFog);
  if (vMark > 0 && radius > 0.55) colour = vMark == 2 ? uMark : mix(uMark, colour, 0.3);
  pixel = vec4(colour, 1.0);
}
`;

export class CloudPoints {
  readonly points: Points<BufferGeometry, ShaderMaterial>;
  readonly #uniforms = {
    uDiameter: { value: 1 },
    uPixels: { value: 1 },
    uSmallest: { value: 1 },
    uLargest: { value: 64 },
    uFogNear: { value: 1 },
    uFogFar: { value: 2 },
    uChosen: { value: -1 },
    uHovered: { value: -1 },
    uBackground: { value: new Vector3() },
    uMark: { value: new Vector3(1, 1, 1) },
  };

  constructor() {
    const material = new ShaderMaterial({
      glslVersion: GLSL3,
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: this.#uniforms,
    });
    this.points = new Points(new BufferGeometry(), material);
    // its bounds are the whole scene: testing them costs more than it saves
    this.points.frustumCulled = false;
  }

  setCloud(cloud: Cloud): void {
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(cloud.positions, 3));
    geometry.setAttribute("colour", new BufferAttribute(clusterColours(cloud.clusters), 3, true));
    this.points.geometry.dispose();
    this.points.geometry = geometry;
    this.mark(-1, -1);
  }

  setDiameter(diameter: number): void {
    this.#uniforms.uDiameter.value = diameter;
  }

  /** `pixels`: device pixels of one unit at distance one. */
  setScreen(pixels: number, deviceRatio: number): void {
    this.#uniforms.uPixels.value = pixels;
    this.#uniforms.uSmallest.value = POINT_LIMITS.smallest * deviceRatio;
    this.#uniforms.uLargest.value = POINT_LIMITS.largest * deviceRatio;
  }

  setFog(near: number, far: number): void {
    this.#uniforms.uFogNear.value = near;
    this.#uniforms.uFogFar.value = far;
  }

  setColours(background: Color, mark: Color): void {
    // the shader writes what the screen shows: no conversion of colour spaces on the way
    const back = background.clone().convertLinearToSRGB();
    const front = mark.clone().convertLinearToSRGB();
    this.#uniforms.uBackground.value.set(back.r, back.g, back.b);
    this.#uniforms.uMark.value.set(front.r, front.g, front.b);
  }

  mark(chosen: number, hovered: number): boolean {
    const { uChosen, uHovered } = this.#uniforms;
    if (uChosen.value === chosen && uHovered.value === hovered) return false;
    uChosen.value = chosen;
    uHovered.value = hovered;
    return true;
  }

  dispose(): void {
    this.points.geometry.dispose();
    this.points.material.dispose();
  }
}
