// Mounts the dashboard.
import { createPinia } from "pinia";
import { createApp } from "vue";
import App from "./App.vue";
import { createDashboardRouter } from "./router";
import "./styles/tokens.css";
import "./styles/base.css";

const app = createApp(App);
app.use(createPinia());
app.use(createDashboardRouter());
app.mount("#app");
