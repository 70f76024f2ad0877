import "./base";
import "../styles/curation.css";
