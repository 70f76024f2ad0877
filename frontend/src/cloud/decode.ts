/** The point cloud's wire format, version 1 (docs/web.md): header, points in u16, photo ids. */

const MAGIC = "CVPC";
const HEADER_BYTES = 48;
const POINT_BYTES = 8;
const STEPS = 65535;

/** The cluster of a point that belongs to none. */
export const NO_CLUSTER = 65535;

export interface Cloud {
  count: number;
  /** x, y, z of each point; length 3 × count. */
  positions: Float32Array<ArrayBuffer>;
  /** Cluster of each point, `NO_CLUSTER` for none; length count. */
  clusters: Uint16Array<ArrayBuffer>;
  /** Photo id of each point; length count. */
  ids: Uint32Array<ArrayBuffer>;
  min: [number, number, number];
  max: [number, number, number];
}

/** The bytes are no cloud of a version that this page can read. */
export class BadCloud extends Error {
  override name = "BadCloud";
}

interface Header {
  count: number;
  idsOffset: number;
  min: [number, number, number];
  max: [number, number, number];
}

function readHeader(view: DataView): Header {
  if (view.byteLength < HEADER_BYTES) throw new BadCloud("the cloud is shorter than its header");
  const magic = String.fromCharCode(
    view.getUint8(0),
    view.getUint8(1),
    view.getUint8(2),
    view.getUint8(3),
  );
  if (magic !== MAGIC) throw new BadCloud("these bytes are no point cloud");
  const version = view.getUint16(4, true);
  if (version !== 1) throw new BadCloud(`the cloud has version ${version}; this page reads 1`);
  const pointBytes = view.getUint16(6, true);
  if (pointBytes !== POINT_BYTES) throw new BadCloud(`a point of ${pointBytes} bytes is unknown`);
  const triple = (offset: number): [number, number, number] => [
    view.getFloat32(offset, true),
    view.getFloat32(offset + 4, true),
    view.getFloat32(offset + 8, true),
  ];
  return {
    count: view.getUint32(8, true),
    idsOffset: view.getUint32(12, true),
    min: triple(16),
    max: triple(28),
  };
}

/** Throws `BadCloud` where the bytes are cut off, of another version, or no cloud at all. */
export function decodeCloud(buffer: ArrayBuffer): Cloud {
  const view = new DataView(buffer);
  const { count, idsOffset, min, max } = readHeader(view);
  const pointsEnd = HEADER_BYTES + count * POINT_BYTES;
  if (idsOffset < pointsEnd || idsOffset + count * 4 > buffer.byteLength) {
    throw new BadCloud(`the cloud of ${count} points is cut off`);
  }
  const positions = new Float32Array(count * 3);
  const clusters = new Uint16Array(count);
  const ids = new Uint32Array(count);
  const scale = [
    (max[0] - min[0]) / STEPS,
    (max[1] - min[1]) / STEPS,
    (max[2] - min[2]) / STEPS,
  ] as const;
  for (let point = 0; point < count; point += 1) {
    const offset = HEADER_BYTES + point * POINT_BYTES;
    positions[point * 3] = min[0] + view.getUint16(offset, true) * scale[0];
    positions[point * 3 + 1] = min[1] + view.getUint16(offset + 2, true) * scale[1];
    positions[point * 3 + 2] = min[2] + view.getUint16(offset + 4, true) * scale[2];
    clusters[point] = view.getUint16(offset + 6, true);
    ids[point] = view.getUint32(idsOffset + point * 4, true);
  }
  return { count, positions, clusters, ids, min, max };
}
