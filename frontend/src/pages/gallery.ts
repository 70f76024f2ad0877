import "./base";
import "../styles/gallery.css";
import { need } from "../ui/dom";
import { Gallery } from "../ui/gallery";

const root = need("#gallery", HTMLElement);
const gallery = new Gallery(root);
gallery.start();
