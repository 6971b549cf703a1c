// Who is signed in.
import { defineStore } from "pinia";
import { ref } from "vue";
import { onUnauthorised, type ApiError } from "../api/client";
import type { User } from "../api/schema";
import * as api from "../api/session";

export const useSession = defineStore("session", () => {
  const user = ref<User | null>(null);
  const setupRequired = ref(false);
  const loaded = ref(false);
  const error = ref<ApiError | null>(null);

  /** Asks the server who we are; keeps the error when it cannot be asked. */
  async function load(): Promise<void> {
    const result = await api.fetchSession();
    if (!result.ok) {
      error.value = result.error;
      return;
    }
    error.value = null;
    user.value = result.value.user;
    setupRequired.value = result.value.setup_required;
    loaded.value = true;
  }

  /** Makes the first administrator; the error, if any. */
  async function setUp(body: api.SetupRequest): Promise<ApiError | null> {
    const result = await api.setUp(body);
    if (!result.ok) return result.error;
    user.value = result.value.user;
    setupRequired.value = false;
    loaded.value = true;
    return null;
  }

  async function logIn(email: string, password: string): Promise<ApiError | null> {
    const result = await api.logIn(email, password);
    if (!result.ok) return result.error;
    user.value = result.value.user;
    return null;
  }

  async function logOut(): Promise<ApiError | null> {
    const result = await api.logOut();
    if (!result.ok && result.error.status !== 401) return result.error;
    user.value = null;
    return null;
  }

  onUnauthorised(() => {
    user.value = null;
  });

  return { user, setupRequired, loaded, error, load, setUp, logIn, logOut };
});
