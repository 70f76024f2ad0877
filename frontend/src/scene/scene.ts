/** The space: camera, controls and one cloud. Draws only when something has changed. */
import {
  Color,
  Matrix4,
  PerspectiveCamera,
  Scene,
  SRGBColorSpace,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import type { Cloud } from "../cloud/decode";
import { Flight, type Pose } from "./flight";
import {
  extent,
  type Fit,
  fitView,
  nearestInSpace,
  type Projected,
  pickPoint,
  projectPoint,
  type View,
} from "./nearest";
import { CloudPoints, POINT_LIMITS } from "./points";

const FIELD_OF_VIEW = 50;
const MAX_DEVICE_RATIO = 2;
const PICK_SLACK_PX = 8;
/** Share of the free picture that the cloud fills at home. */
const HOME_FILL = 0.9;
/** Diameter of a point at home in CSS pixels, for up to a hundred points; smaller the more there are. */
const HOME_POINT_PX = 13;
/** Towards the camera from the middle of the cloud, at home. */
const HOME_DIRECTION = new Vector3(0.3, 0.25, 1).normalize();
const HOME_RIGHT = new Vector3(0, 1, 0).cross(HOME_DIRECTION).normalize();
const HOME_UP = HOME_DIRECTION.clone().cross(HOME_RIGHT);

/** CSS pixels that something else covers along the canvas's edges. */
export interface Covered {
  top: number;
  bottom: number;
}

export interface SceneEvents {
  /** The camera has come to rest. */
  settled(): void;
  /** The graphics card was taken away (true), or is back (false). */
  lost(lost: boolean): void;
  /** Asked at every change of size; the cloud is kept out of it. */
  covered(): Covered;
}

export interface SceneStats {
  frames: number;
  points: number;
  drawCalls: number;
  lastFrameMs: number;
  contextLosses: number;
}

export class SpaceScene {
  readonly stats: SceneStats = {
    frames: 0,
    points: 0,
    drawCalls: 0,
    lastFrameMs: 0,
    contextLosses: 0,
  };
  readonly #canvas: HTMLCanvasElement;
  readonly #events: SceneEvents;
  readonly #renderer: WebGLRenderer;
  readonly #scene = new Scene();
  readonly #camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.01, 100);
  readonly #controls: OrbitControls;
  readonly #cloudPoints = new CloudPoints();
  readonly #resize: ResizeObserver;
  readonly #abort = new AbortController();
  #cloud: Cloud | null = null;
  #centre = new Vector3();
  #radius = 1;
  #home: Fit = { across: 0, along: 0, distance: 1 };
  /** Share of the picture's height that nothing covers. */
  #freeShare = 1;
  #sizeFactor = 1;
  #flight: Flight | null = null;
  #frame = 0;
  #jump = false;

  /** Throws where the browser has no WebGL2. */
  constructor(canvas: HTMLCanvasElement, events: SceneEvents) {
    this.#canvas = canvas;
    this.#events = events;
    this.#renderer = new WebGLRenderer({ canvas, antialias: false, alpha: false });
    this.#renderer.outputColorSpace = SRGBColorSpace;
    this.#scene.add(this.#cloudPoints.points);
    this.#controls = new OrbitControls(this.#camera, canvas);
    this.#controls.enableDamping = true;
    this.#controls.dampingFactor = 0.12;
    this.#controls.addEventListener("change", () => this.request());
    this.#controls.addEventListener("start", () => {
      this.#flight = null;
      this.request();
    });
    const { signal } = this.#abort;
    canvas.addEventListener("webglcontextlost", () => this.#lost(), { signal });
    canvas.addEventListener("webglcontextrestored", () => this.#restored(), { signal });
    this.#resize = new ResizeObserver(() => this.#fit());
    this.#resize.observe(canvas);
    this.#fit();
  }

  get cloud(): Cloud | null {
    return this.#cloud;
  }

  get target(): [number, number, number] {
    return this.#controls.target.toArray();
  }

  /** Under reduced motion flights are jumps. */
  setJump(jump: boolean): void {
    this.#jump = jump;
    this.#controls.enableDamping = !jump;
  }

  /** Shows a cloud; the first one from home, a later one from where the camera is. */
  setCloud(cloud: Cloud): void {
    const first = this.#cloud === null;
    this.#cloud = cloud;
    this.stats.points = cloud.count;
    const { centre, radius } = extent(cloud.positions);
    this.#centre.set(...centre);
    this.#radius = radius;
    this.#camera.near = radius / 500;
    this.#camera.far = radius * 40;
    this.#camera.updateProjectionMatrix();
    this.#controls.minDistance = radius / 100;
    this.#controls.maxDistance = radius * 12;
    this.#cloudPoints.setCloud(cloud);
    this.#fitHome();
    if (first) this.home(true);
    this.request();
  }

  setColours(background: string, mark: string): void {
    const back = new Color(background);
    // the scene keeps its background when the context is lost; a clear colour would be gone
    this.#scene.background = back;
    this.#cloudPoints.setColours(back, new Color(mark));
    this.request();
  }

  /** A factor on the size that fits the number of points. */
  setPointSize(factor: number): void {
    this.#sizeFactor = factor;
    this.#sizePoints();
    this.request();
  }

  mark(chosen: number, hovered: number): void {
    if (this.#cloudPoints.mark(chosen, hovered)) this.request();
  }

  home(jump = this.#jump): void {
    const { across, along, distance } = this.#home;
    const target = this.#centre
      .clone()
      .addScaledVector(HOME_RIGHT, across)
      .addScaledVector(HOME_UP, along);
    const position = target.clone().addScaledVector(HOME_DIRECTION, distance);
    this.#fly({ position, target }, jump);
  }

  /** Flies so that the point is in the middle and its neighbours around it. */
  flyTo(index: number): void {
    const target = this.#point(index);
    const away = this.#camera.position.clone().sub(this.#controls.target).normalize();
    const near = Math.min(this.#camera.position.distanceTo(target), this.#radius * 0.45);
    this.#fly({ position: target.clone().addScaledVector(away, near), target }, this.#jump);
  }

  turn(left: number, up: number): void {
    this.#flight = null;
    this.#controls.rotateLeft(left);
    this.#controls.rotateUp(up);
    this.request();
  }

  /** Nearer above one, farther below. */
  zoom(factor: number): void {
    this.#flight = null;
    if (factor > 1) this.#controls.dollyIn(1 / factor);
    else this.#controls.dollyOut(factor);
    this.request();
  }

  setCamera(position: [number, number, number], target: [number, number, number]): void {
    this.#fly({ position: new Vector3(...position), target: new Vector3(...target) }, true);
  }

  /** Index of the point at CSS pixels of the canvas, -1 for none. */
  pick(x: number, y: number): number {
    if (!this.#cloud) return -1;
    const pixels = this.#pixelsAtOne();
    const diameter = this.#diameter();
    const radius = (depth: number): number =>
      Math.min(POINT_LIMITS.largest, Math.max(POINT_LIMITS.smallest, (diameter * pixels) / depth)) /
      2;
    return pickPoint(this.#cloud.positions, this.#view(), [x, y], radius, PICK_SLACK_PX);
  }

  project(index: number): Projected | null {
    return this.#cloud ? projectPoint(this.#cloud.positions, index, this.#view()) : null;
  }

  /** The points nearest to the camera's target, the nearest first. */
  nearestToTarget(wanted: number): number[] {
    if (!this.#cloud) return [];
    const found = nearestInSpace(this.#cloud.positions, this.target, wanted);
    return found.map(({ index }) => index);
  }

  /** The point nearest to point `index` that `skip` allows, -1 for none. */
  neighbour(index: number, skip: (index: number) => boolean): number {
    if (!this.#cloud) return -1;
    const from = this.#point(index).toArray();
    const [found] = nearestInSpace(this.#cloud.positions, from, 1, skip);
    return found?.index ?? -1;
  }

  request(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame((now) => this.#tick(now));
  }

  renderSync(): void {
    const start = performance.now();
    this.#camera.updateMatrixWorld();
    this.#fog();
    this.#renderer.render(this.#scene, this.#camera);
    this.stats.frames += 1;
    this.stats.drawCalls = this.#renderer.info.render.calls;
    this.stats.lastFrameMs = performance.now() - start;
  }

  /** Draws, then reads RGBA bytes, the bottom row first. */
  readPixels(): { width: number; height: number; data: Uint8Array } {
    this.renderSync();
    const gl = this.#renderer.getContext();
    const { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
    const data = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    return { width, height, data };
  }

  info(): Record<string, unknown> {
    const { memory, render, programs } = this.#renderer.info;
    return {
      memory: { ...memory },
      render: { ...render },
      programs: programs?.length ?? 0,
      camera: { position: this.#camera.position.toArray(), target: this.target },
      radius: this.#radius,
      deviceRatio: this.#renderer.getPixelRatio(),
      pending: this.#frame !== 0,
    };
  }

  dispose(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = -1;
    this.#abort.abort();
    this.#resize.disconnect();
    this.#controls.dispose();
    this.#cloudPoints.dispose();
    this.#renderer.dispose();
    this.#renderer.forceContextLoss();
  }

  #tick(now: number): void {
    this.#frame = 0;
    const camera: Pose = { position: this.#camera.position, target: this.#controls.target };
    if (this.#flight?.step(now, camera)) this.#flight = null;
    // damping goes on for a while: a change asks for the next frame
    this.#controls.update();
    this.renderSync();
    if (this.#flight) this.request();
    if (this.#frame === 0) this.#events.settled();
  }

  #fly(to: Pose, jump: boolean): void {
    const camera: Pose = { position: this.#camera.position, target: this.#controls.target };
    this.#flight = null;
    const flight = new Flight(camera, to);
    if (jump) {
      flight.arrive(camera);
      this.#controls.update();
    } else {
      this.#flight = flight;
    }
    this.request();
  }

  #point(index: number): Vector3 {
    const positions = this.#cloud?.positions ?? new Float32Array();
    return new Vector3().fromArray(positions, index * 3);
  }

  /** Diameter of a point in units of the cloud. */
  #diameter(): number {
    const count = Math.max(100, this.#cloud?.count ?? 0);
    const pixels = HOME_POINT_PX * (100 / count) ** 0.25 * this.#sizeFactor;
    return (pixels * this.#home.distance) / this.#pixelsAtOne();
  }

  /** The home view of this cloud in a picture of this shape, and the point size that goes with it. */
  #fitHome(): void {
    if (!this.#cloud) return;
    const half = Math.tan((FIELD_OF_VIEW * Math.PI) / 360) * HOME_FILL;
    const fit = fitView(this.#cloud.positions, {
      centre: this.#centre.toArray(),
      right: HOME_RIGHT.toArray(),
      up: HOME_UP.toArray(),
      back: HOME_DIRECTION.toArray(),
      halfWidth: half * this.#camera.aspect,
      halfHeight: half * this.#freeShare,
    });
    this.#home = { ...fit, distance: Math.max(fit.distance, this.#radius * 0.5) };
    this.#sizePoints();
  }

  #sizePoints(): void {
    this.#cloudPoints.setDiameter(this.#diameter());
  }

  /** CSS pixels of one unit at distance one. */
  #pixelsAtOne(): number {
    return this.#canvas.clientHeight / (2 * Math.tan((FIELD_OF_VIEW * Math.PI) / 360));
  }

  #fog(): void {
    const away = this.#camera.position.distanceTo(this.#centre);
    this.#cloudPoints.setFog(Math.max(0, away - this.#radius * 0.6), away + this.#radius * 1.6);
  }

  #view(): View {
    this.#camera.updateMatrixWorld();
    const matrix = new Matrix4().multiplyMatrices(
      this.#camera.projectionMatrix,
      this.#camera.matrixWorldInverse,
    );
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    return { matrix: matrix.elements, width, height };
  }

  #fit(): void {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0 || height === 0) return;
    const ratio = Math.min(MAX_DEVICE_RATIO, devicePixelRatio);
    this.#renderer.setPixelRatio(ratio);
    this.#renderer.setSize(width, height, false);
    this.#camera.aspect = width / height;
    const { top, bottom } = this.#events.covered();
    this.#freeShare = Math.max(0.4, (height - top - bottom) / height);
    // what the camera looks at stands in the middle of the free part
    this.#camera.setViewOffset(width, height, 0, (bottom - top) / 2, width, height);
    this.#fitHome();
    this.#cloudPoints.setScreen(this.#pixelsAtOne() * ratio, ratio);
    // resizing clears the canvas: drawing now spares a blank frame
    if (this.#cloud) this.renderSync();
  }

  #lost(): void {
    this.stats.contextLosses += 1;
    this.#events.lost(true);
  }

  #restored(): void {
    // three makes its buffers again from the arrays that the geometry still holds
    this.#events.lost(false);
    this.request();
  }
}
