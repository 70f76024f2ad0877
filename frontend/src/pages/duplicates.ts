import "./base";
import "../styles/curation.css";
import { bindDuplicates } from "../ui/duplicates";

bindDuplicates();
