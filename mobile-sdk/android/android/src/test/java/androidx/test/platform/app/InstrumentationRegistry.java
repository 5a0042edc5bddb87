// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.platform.app;

import android.app.Instrumentation;
import android.os.Bundle;

/** As much of the class of this name as Robolectric calls: Google publishes it in a repository of its own. */
public final class InstrumentationRegistry {
  private static Instrumentation instrumentation;

  private InstrumentationRegistry() {}

  public static void registerInstance(Instrumentation registered, Bundle arguments) {
    instrumentation = registered;
  }

  public static Instrumentation getInstrumentation() {
    return instrumentation;
  }
}
