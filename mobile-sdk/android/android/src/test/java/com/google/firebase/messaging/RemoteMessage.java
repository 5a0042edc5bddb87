// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package com.google.firebase.messaging;

import java.util.Map;

/** See FirebaseMessagingService. */
public final class RemoteMessage {
  private final Map<String, String> data;

  public RemoteMessage(Map<String, String> data) {
    this.data = data;
  }

  public Map<String, String> getData() {
    return data;
  }

  public int getPriority() {
    return 1;
  }

  public int getOriginalPriority() {
    return 1;
  }
}
