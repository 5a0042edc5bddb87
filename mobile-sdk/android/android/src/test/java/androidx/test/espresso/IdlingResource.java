// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.espresso;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public interface IdlingResource {
  String getName();

  boolean isIdleNow();

  void registerIdleTransitionCallback(ResourceCallback callback);

  interface ResourceCallback {
    void onTransitionToIdle();
  }
}
