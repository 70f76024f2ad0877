import "./base";
import "../styles/photo.css";
import { bindPhoto } from "../ui/photo";

bindPhoto();
