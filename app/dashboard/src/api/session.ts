// Session calls: who am I, first set-up, log in and out.
import { request, type Result } from "./client";
import type { Session, User } from "./schema";

export interface SetupRequest {
  token: string;
  email: string;
  name: string;
  password: string;
}

export function fetchSession(): Promise<Result<Session>> {
  return request("/session");
}

export function setUp(body: SetupRequest): Promise<Result<{ user: User }>> {
  return request("/setup", { method: "POST", body });
}

export function logIn(email: string, password: string): Promise<Result<{ user: User }>> {
  return request("/login", { method: "POST", body: { email, password } });
}

export function logOut(): Promise<Result<undefined>> {
  return request("/logout", { method: "POST" });
}
