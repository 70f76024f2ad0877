/** Stacks in the gallery: which are open, and what the gallery shows then. */
import { explain, getJson } from "../state/api";
import { type Photo, readGroup } from "../state/models";
import { isTyping } from "./dom";
import { GridRow } from "./grid-row";
import { toast } from "./toasts";

/** Photos with the members of open stacks right behind the photo that stands for them. */
export function unfold(
  photos: readonly Photo[],
  open: ReadonlyMap<number, readonly Photo[]>,
): readonly Photo[] {
  if (open.size === 0) return photos;
  const shown = new Set(photos.map((photo) => photo.id));
  return photos.flatMap((photo) => {
    const members = photo.stack ? open.get(photo.stack.group) : undefined;
    if (!members) return [photo];
    const others = members.filter((member) => !shown.has(member.id));
    return [photo, ...others.map((member) => ({ ...member, unfolded: true }))];
  });
}

export class Stacks {
  readonly #open = new Map<number, readonly Photo[]>();
  readonly #changed: (group: number) => void;

  /** `changed` hears of the group whose stack was opened or closed. */
  constructor(changed: (group: number) => void) {
    this.#changed = changed;
  }

  unfold(photos: readonly Photo[]): readonly Photo[] {
    return unfold(photos, this.#open);
  }

  /** G on a photo, or a press of its badge, opens or closes its stack. */
  bind(root: HTMLElement, photoAt: (index: number) => Photo | undefined): void {
    root.addEventListener("click", (event) => {
      const badge = event.target instanceof Element ? event.target.closest(".stack-badge") : null;
      const index = badge ? GridRow.indexOf(badge) : null;
      if (index === null) return;
      event.preventDefault();
      void this.toggle(photoAt(index));
    });
    root.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "g" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (isTyping(event)) return;
      const index = GridRow.indexOf(event.target);
      if (index === null) return;
      event.preventDefault();
      void this.toggle(photoAt(index));
    });
  }

  async toggle(photo: Photo | undefined): Promise<void> {
    const group = photo?.stack?.group ?? this.#groupOf(photo);
    if (group === undefined) return;
    if (this.#open.delete(group)) {
      this.#changed(group);
      return;
    }
    try {
      this.#open.set(group, await getJson(`/api/v1/groups/${group}`, readGroup));
      this.#changed(group);
    } catch (error) {
      toast(explain(error), "bad");
    }
  }

  /** The open stack that an unfolded photo belongs to. */
  #groupOf(photo: Photo | undefined): number | undefined {
    if (!photo?.unfolded) return undefined;
    for (const [group, members] of this.#open) {
      if (members.some((member) => member.id === photo.id)) return group;
    }
    return undefined;
  }
}
