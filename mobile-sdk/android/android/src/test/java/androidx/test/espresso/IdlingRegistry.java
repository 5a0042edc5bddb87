// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.espresso;

import android.os.Looper;
import java.util.Collection;
import java.util.Collections;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public final class IdlingRegistry {
  private static final IdlingRegistry INSTANCE = new IdlingRegistry();

  private IdlingRegistry() {}

  public static IdlingRegistry getInstance() {
    return INSTANCE;
  }

  public Collection<IdlingResource> getResources() {
    return Collections.emptyList();
  }

  public Collection<Looper> getLoopers() {
    return Collections.emptyList();
  }
}
