// The route table, and who may go where.
import { createRouter, createWebHistory, type RouteLocationNormalized, type RouteLocationRaw, type Router } from "vue-router";
import { useProject } from "./stores/project";
import { useSession } from "./stores/session";

declare module "vue-router" {
  interface RouteMeta {
    /** Reachable without a session, and shown without the navigation. */
    open?: boolean;
    title?: string;
  }
}

/** Where to go instead of `to`, if anywhere. */
async function guard(to: RouteLocationNormalized): Promise<RouteLocationRaw | true> {
  const session = useSession();
  if (!session.loaded) await session.load();
  // The shell shows why the server cannot be asked.
  if (!session.loaded) return true;
  if (session.setupRequired && to.name !== "setup") return { name: "setup", query: to.query["token"] === undefined ? {} : { token: to.query["token"] } };
  if (to.name === "setup" && !session.setupRequired && session.user === null) return { name: "login" };
  if (to.meta.open === true) return true;
  if (session.user === null) return { name: "login", query: to.fullPath === "/" ? {} : { next: to.fullPath } };
  const project = useProject();
  if (!project.loaded) await project.load();
  if (to.name === "home" && project.preferred !== null) return { name: "issues", params: { project: project.preferred.slug } };
  if (typeof to.params["project"] === "string") project.select(to.params["project"]);
  return true;
}

export function createDashboardRouter(): Router {
  const router = createRouter({
    history: createWebHistory(),
    scrollBehavior: (to, from, saved) => saved ?? (to.path === from.path ? false : { top: 0 }),
    routes: [
      { path: "/", name: "home", component: () => import("./views/NoProject.vue"), meta: { title: "Projects" } },
      { path: "/setup", name: "setup", component: () => import("./views/Setup.vue"), meta: { open: true, title: "Set up" } },
      { path: "/login", name: "login", component: () => import("./views/Login.vue"), meta: { open: true, title: "Log in" } },
      { path: "/projects/:project/issues", name: "issues", component: () => import("./views/IssueList.vue"), meta: { title: "Issues" } },
      { path: "/projects/:project/issues/:issue/:event?", name: "issue", component: () => import("./views/IssueDetail.vue"), meta: { title: "Issue" } },
      { path: "/projects/:project/live", name: "live", component: () => import("./views/LiveStream.vue"), meta: { title: "Live stream" } },
      { path: "/projects/:project/intake", name: "intake", component: () => import("./views/Intake.vue"), meta: { title: "Intake" } },
      { path: "/projects/:project/connect", name: "connect", component: () => import("./views/Connect.vue"), meta: { title: "Connect" } },
      { path: "/:path(.*)*", name: "unknown", component: () => import("./views/NotFound.vue"), meta: { title: "Not found" } },
    ],
  });
  router.beforeEach(guard);
  router.afterEach((to, from) => {
    // A reader or keyboard user goes on where the new view begins, not at the link that is gone.
    if (from.name !== undefined && to.name !== from.name) document.getElementById("content")?.focus({ preventScroll: true });
    document.title = to.meta.title === undefined ? "Mesher" : `${to.meta.title} · Mesher`;
  });
  return router;
}
